"""What the sample world is made of. Defaults were set once (docs/world.md) and are never tuned to results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

#: Event names that count as the customer being active in the sample world (every organic session holds the first).
ACTIVITY = ("Page Viewed",)
#: The event that is a purchase.
PURCHASE = "Order Completed"

Relevance = Literal["any", "cart", "browse", "new", "idle", "lapsed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mood:
    """What a customer in one mode does on an average day. All probabilities in [0, 1]; `p_cart + p_order <= 1`."""

    p_visit: float  # at least one session that day (before the weekday factor)
    p_cart: float  # given a visit: fills a cart and leaves it
    p_order: float  # given a visit: orders


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """One latent class: a Markov chain over the modes idle, warm and lapsed with one step a UTC day.

    `hazard`: daily probability to lapse, the true churn hazard while idle or warm on a day without an order;
    `hazard_after_order` on a day with one. `warm_up`: idle -> warm; `cool_down`: warm -> idle, both given no order and
    no lapse. `warm_after_order`: probability to be warm the day after an order, given no lapse.
    `comeback`: lapsed -> idle.
    """

    name: str
    share: float
    start_warm: float
    idle: Mood
    warm: Mood
    warm_up: float
    cool_down: float
    warm_after_order: float
    hazard: float
    hazard_after_order: float
    lapsed: Mood = Mood(p_visit=0.002, p_cart=0.10, p_order=0.05)
    comeback: float = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEffect:
    """What one message of a campaign does, at the customer's best hour, on e-mail, without fatigue.

    `p_order` > 0: probability that it causes one extra order; < 0: probability that it makes the customer skip the next
    organic order of the following `skip_days` days. `relevance`: when it has full strength: `cart` an open cart,
    `browse` a product viewed and no order since, `new` since sign-up, `idle` or `lapsed` while that is the hidden mode;
    strength halves every `half_life_h` hours since that moment (cart, browse, new), down to `off_share`, which is also
    what is left otherwise.
    `hour_share`: part of the strength that depends on the hour. `p_click`: of an opened message.
    `annoyance` scales the risk to unsubscribe and the fatigue left behind; 0 for wanted (transactional) mail.
    """

    p_order: float
    relevance: Relevance = "any"
    off_share: float = 0.0
    half_life_h: float = 48.0
    hour_share: float = 0.6
    p_click: float = 0.15
    annoyance: float = 1.0
    skip_days: int = 7


_CART = CampaignEffect(p_order=0.080, relevance="cart", off_share=0.05, half_life_h=24.0, p_click=0.30)
_BROWSE = CampaignEffect(p_order=0.020, relevance="browse", off_share=0.10, half_life_h=24.0, p_click=0.20)
_WINBACK = CampaignEffect(p_order=0.012, relevance="lapsed", off_share=0.10, p_click=0.10)
# an offer persuades those who would not come by themselves; warm customers mostly would have bought anyway
_OFFER = CampaignEffect(p_order=0.020, relevance="idle", off_share=0.2, p_click=0.20, annoyance=1.2)
_WANTED = CampaignEffect(p_order=0.0, p_click=0.40, annoyance=0.0)
_NEWSLETTER = CampaignEffect(p_order=0.0, p_click=0.12)

#: By campaign name; names not here use `WorldConfig.default_effect`.
EFFECTS: Mapping[str, CampaignEffect] = MappingProxyType(
    {
        "cart_reminder": _CART,
        "cart_abandoned": _CART,
        "browse_reminder": _BROWSE,
        "browse_abandoned": _BROWSE,
        "welcome": CampaignEffect(p_order=0.040, relevance="new", off_share=0.05, half_life_h=48.0, p_click=0.25),
        "offer": _OFFER,
        "likely_buyer_offer": _OFFER,
        "winback": _WINBACK,
        "win_back": _WINBACK,
        "newsletter": _NEWSLETTER,
        "weekly_blast": _NEWSLETTER,
        "survey": CampaignEffect(p_order=0.0, p_click=0.05, annoyance=1.5),
        "hard_sell": CampaignEffect(p_order=-0.100, p_click=0.08, annoyance=2.0),
        "order_confirmation": _WANTED,
        "password_reset": _WANTED,
        "shipping_update": _WANTED,
    }
)

RHYTHMS: tuple[Rhythm, ...] = (
    Rhythm(
        name="regular",
        share=0.25,
        start_warm=0.60,
        idle=Mood(p_visit=0.06, p_cart=0.10, p_order=0.04),
        warm=Mood(p_visit=0.45, p_cart=0.25, p_order=0.35),
        warm_up=0.05,
        cool_down=0.12,
        warm_after_order=0.15,
        hazard=0.0012,
        hazard_after_order=0.0012,
    ),
    Rhythm(
        name="bursty",
        share=0.15,
        start_warm=0.80,
        idle=Mood(p_visit=0.015, p_cart=0.10, p_order=0.05),
        warm=Mood(p_visit=0.60, p_cart=0.25, p_order=0.25),
        warm_up=0.015,
        cool_down=0.12,
        warm_after_order=0.75,
        hazard=0.0020,
        hazard_after_order=0.0020,
    ),
    Rhythm(
        name="one_time",
        share=0.25,
        start_warm=0.70,
        idle=Mood(p_visit=0.04, p_cart=0.10, p_order=0.05),
        warm=Mood(p_visit=0.40, p_cart=0.25, p_order=0.30),
        warm_up=0.02,
        cool_down=0.15,
        warm_after_order=0.20,
        hazard=0.0200,
        hazard_after_order=0.9000,
    ),
    Rhythm(
        name="lapsing",
        share=0.20,
        start_warm=0.60,
        idle=Mood(p_visit=0.07, p_cart=0.10, p_order=0.05),
        warm=Mood(p_visit=0.45, p_cart=0.25, p_order=0.30),
        warm_up=0.05,
        cool_down=0.12,
        warm_after_order=0.30,
        hazard=0.0150,
        hazard_after_order=0.0150,
    ),
    Rhythm(
        name="browsing",
        share=0.15,
        start_warm=0.40,
        idle=Mood(p_visit=0.12, p_cart=0.04, p_order=0.005),
        warm=Mood(p_visit=0.50, p_cart=0.15, p_order=0.05),
        warm_up=0.04,
        cool_down=0.15,
        warm_after_order=0.40,
        hazard=0.0030,
        hazard_after_order=0.0030,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    """Everything that defines a world besides its seed and its end. Shares are scaled to sum 1."""

    n_customers: int = 2_000  # who arrive before `end`
    n_new_customers: int = 100  # who arrive in the `new_days` days after it (closed loop)
    n_days: int = 180  # whole UTC days of history
    new_days: int = 60
    early_share: float = 0.5  # of customers arrive in the first sixth of the history, the rest evenly
    rhythms: tuple[Rhythm, ...] = RHYTHMS
    weekday_factors: tuple[float, ...] = (1.05, 1.0, 0.95, 0.95, 0.9, 1.05, 1.1)  # Monday first, on visits
    zones: Mapping[str, float] = field(
        default_factory=lambda: {
            "Europe/London": 0.32,
            "Europe/Berlin": 0.20,
            "America/New_York": 0.16,
            "America/Los_Angeles": 0.08,
            "Asia/Kolkata": 0.10,
            "Australia/Adelaide": 0.04,
            "Asia/Tokyo": 0.05,
            "America/Sao_Paulo": 0.05,
        }
    )
    p_zone_missing: float = 0.08
    #: name -> (share, peak local hour, width in hours) of the visiting and reading habit
    hour_types: Mapping[str, tuple[float, float, float]] = field(
        default_factory=lambda: {
            "early": (0.20, 7.5, 1.5),
            "lunch": (0.25, 12.5, 1.5),
            "evening": (0.40, 19.5, 2.0),
            "night": (0.15, 22.5, 1.5),
        }
    )
    hour_floor: float = 0.15  # share of visits spread evenly over the day
    engagement: tuple[tuple[float, float], ...] = ((0.4, 0.5), (0.4, 1.0), (0.2, 1.6))  # (share, factor on opens)
    categories: tuple[str, ...] = ("home", "garden", "kitchen", "toys", "books", "fashion", "sport", "beauty")
    n_products: int = 40  # in each category
    taste_main: float = 0.6  # of looks and purchases fall on the customer's main category
    taste_second: float = 0.2
    price_median_minor: int = 1_800
    price_sigma: float = 0.6  # of the logarithm
    item_shares: tuple[float, float, float, float] = (0.5, 0.25, 0.15, 0.1)  # 1, 2, 3, 4 different products
    p_two: float = 0.15  # two of a product instead of one
    p_sign_up: float = 0.45  # on each day with a visit while anonymous; an order always signs up
    p_second_session: float = 0.15
    p_second_device: float = 0.2
    p_refund: float = 0.06
    p_referral: float = 0.05  # `Invite Sent` after an order
    addresses: Mapping[str, float] = field(default_factory=lambda: {"email": 0.95, "push": 0.40, "sms": 0.35})
    p_opt_in: Mapping[str, float] = field(default_factory=lambda: {"email": 0.85, "push": 0.75, "sms": 0.60})
    p_profiling_out: float = 0.06
    p_bad_address: float = 0.02
    p_name_missing: float = 0.2
    newsletter_every_days: int = 14  # the old system's newsletter in the history, at a randomised local hour; 0: none
    newsletter_hours: tuple[int, int] = (7, 22)  # first and last local hour
    p_open: Mapping[str, float] = field(
        default_factory=lambda: {"email": 0.32, "push": 0.15, "sms": 0.25, "inapp": 0.30, "onsite": 0.30}
    )
    open_hour_share: float = 0.6  # part of opening that depends on the hour
    channel_factors: Mapping[str, float] = field(
        default_factory=lambda: {"email": 1.0, "push": 0.8, "sms": 1.1, "inapp": 0.7, "onsite": 0.7}
    )
    fatigue_days: float = 7.0  # a send's weight decays with this time constant
    fatigue_response: float = 0.25  # opens and effects fall as exp(-this x fatigue)
    p_unsubscribe: float = 0.002  # of one message without fatigue
    fatigue_unsubscribe: float = 0.4  # that risk grows as exp(this x fatigue)
    max_unsubscribe: float = 0.5
    p_spam: float = 0.05  # of e-mail unsubscribes are complaints too
    cart_days: int = 7  # an open cart is bought or forgotten within
    effects: Mapping[str, CampaignEffect] = field(default_factory=lambda: EFFECTS)
    default_effect: CampaignEffect = CampaignEffect(p_order=0.004)
    currency: str = "GBP"

    def effect(self, campaign: str) -> CampaignEffect:
        """The effect of a campaign by name."""
        return self.effects.get(campaign, self.default_effect)
