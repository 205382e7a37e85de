"""The shop: products, their prices, and what is in a basket."""

from typing import Any, NamedTuple

import numpy as np

from opportune.world.draws import Draws, Floats, Ints, Stream
from opportune.world.people import People

MAX_ITEMS = 4


class Baskets(NamedTuple):
    """What r baskets hold. `n` (r,) in 1-4; `product`, `quantity` (r, 4), of which the first n columns count."""

    n: Ints
    product: Ints
    quantity: Ints


class Shop:
    """Products are numbered category by category; prices are integer minor units."""

    def __init__(self, people: People, draws: Draws) -> None:
        self._people, self._config, self._draws = people, people.config, draws
        config = people.config
        total = len(config.categories) * config.n_products
        numbers = np.arange(total, dtype=np.int64)
        radius = np.sqrt(2 * draws.exponential(Stream.PRODUCT, numbers))
        normal = radius * np.cos(2 * np.pi * draws.uniform(Stream.PRODUCT, numbers, 1))
        price = np.rint(config.price_median_minor * np.exp(config.price_sigma * normal) / 5) * 5
        self.price_minor: Ints = np.maximum(price, 95).astype(np.int64)
        self.products: list[dict[str, Any]] = [
            {
                "product_id": f"p{i:04d}",
                "sku": f"SKU-{i:04d}",
                "name": f"{config.categories[i // config.n_products].title()} item {i % config.n_products + 1}",
                "category": config.categories[i // config.n_products],
                "price": int(self.price_minor[i]) / 100,
            }
            for i in range(total)
        ]

    def looks(self, who: Ints, key: Ints, j: Ints | int) -> Ints:
        """The product a customer looks at or takes, by taste; the arguments broadcast."""
        config, people = self._config, self._people
        u = self._draws.uniform(Stream.BASKET, who, key, j)
        other = ((u - config.taste_main - config.taste_second) / (1 - config.taste_main - config.taste_second)).clip(
            0, 0.9999
        )
        anywhere = (other * len(config.categories)).astype(np.int64)
        second = np.where(u < config.taste_main + config.taste_second, people.second[who], anywhere)
        category = np.where(u < config.taste_main, people.main[who], second)
        v = self._draws.uniform(Stream.BASKET, who, key, np.asarray(j) + 16)
        return category * config.n_products + (v * config.n_products).astype(np.int64)

    def baskets(self, who: Ints, key: Ints) -> Baskets:
        """Contents of the baskets addressed by (customer, key): one key a day of filling."""
        n = 1 + self._draws.choice(np.array(self._config.item_shares), Stream.BASKET, who, key, 64)
        places = np.arange(MAX_ITEMS)
        two = self._draws.uniform(Stream.BASKET, who[:, None], key[:, None], 80 + places) < self._config.p_two
        return Baskets(n, self.looks(who[:, None], key[:, None], places), np.where(two, 2, 1))

    def value_minor(self, who: Ints, key: Ints) -> Ints:
        """What those baskets cost, minor units, (r,)."""
        held = self.baskets(who, key)
        counted = np.arange(MAX_ITEMS) < held.n[:, None]
        total: Ints = (self.price_minor[held.product] * held.quantity * counted).sum(axis=1)
        return total

    def mean_value_minor(self) -> Floats:
        """(n,) each customer's true expected basket: E[products] x E[quantity] x E[price by taste]."""
        config, people = self._config, self._people
        mean = self.price_minor.reshape(len(config.categories), config.n_products).mean(axis=1)
        rest = 1 - config.taste_main - config.taste_second
        price = config.taste_main * mean[people.main] + config.taste_second * mean[people.second] + rest * mean.mean()
        shares = np.array(config.item_shares) / np.sum(config.item_shares)
        n_items = float((shares * np.arange(1, MAX_ITEMS + 1)).sum())
        return np.asarray(price * n_items * (1 + config.p_two), np.float64)
