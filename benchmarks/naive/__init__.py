"""The reference: what a user would write without Opportune."""
