"""Evidence: what a campaign's own log says about it so far, in sums."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecord:
    """Sums over a campaign's messages whose goal's horizon has passed.

    `n_sent` went out, `n_reached` of them were followed by the goal; `n_held` were withheld by a holdout,
    `n_held_reached` of those were followed by the goal all the same; `n_lost`: sent ones answered by an unsubscribe
    or a complaint.
    """

    campaign: str
    n_sent: int = 0
    n_reached: int = 0
    n_held: int = 0
    n_held_reached: int = 0
    n_lost: int = 0

    def plus(self, other: "CampaignRecord") -> "CampaignRecord":
        """Both together."""
        return CampaignRecord(
            campaign=self.campaign,
            n_sent=self.n_sent + other.n_sent,
            n_reached=self.n_reached + other.n_reached,
            n_held=self.n_held + other.n_held,
            n_held_reached=self.n_held_reached + other.n_held_reached,
            n_lost=self.n_lost + other.n_lost,
        )
