"""When a trigger is due, worked out from what is known of one customer. Pure."""
