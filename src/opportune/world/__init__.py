"""The sample world: customers and events whose truth is known. Start with `World`; docs/world.md has the model."""

from opportune.world.config import ACTIVITY, PURCHASE, CampaignEffect, Mood, Rhythm, WorldConfig
from opportune.world.referee import Delivery, Rules, Violation
from opportune.world.world import World, consents_of

__all__ = [
    "ACTIVITY",
    "PURCHASE",
    "CampaignEffect",
    "Delivery",
    "Mood",
    "Rhythm",
    "Rules",
    "Violation",
    "World",
    "WorldConfig",
    "consents_of",
]
