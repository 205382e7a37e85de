"""The taps: which events are heard, what number they carry, and which single operations are kept of them."""

from datetime import timedelta

from opportune.domain.statements import SPEAKING
from opportune.features.declare import Keeps, Part, Tap

#: The cart remembers this many operations at most, newest first, and forgets them after this long.
CART_MAX_OPS = 200
CART_WINDOW = timedelta(days=30)
#: Letters (messages sent, delivered, opened): at most this many operations are kept, newest first, and this long.
LETTER_MAX_OPS = 200
LETTER_WINDOW = timedelta(days=180)
#: Visits further apart than this belong to two sessions.
SESSION_GAP = timedelta(minutes=30)
VISIT_WINDOW = timedelta(days=30)
ORDER_WINDOW = timedelta(days=730)
SIGHT_WINDOW = timedelta(days=90)

#: What comes of our own messages: not activity of the customer on their own account.
EMAIL_OUTCOMES = (
    "Email Delivered",
    "Email Opened",
    "Email Link Clicked",
    "Email Bounced",
    "Email Marked as Spam",
    "Unsubscribed",
)
ADDED, REMOVED = "Product Added", "Product Removed"
CHECKOUT = ("Checkout Started", "Checkout Step Viewed", "Checkout Step Completed", "Payment Info Entered")
#: What a customer does in person: looking round, filling a cart, buying.
VISITING = (
    "Page Viewed",
    "Screen Viewed",
    "Products Searched",
    "Product List Viewed",
    "Product Clicked",
    "Product Viewed",
    ADDED,
    REMOVED,
    "Cart Viewed",
    "Checkout Started",
    "Order Completed",
)
#: How near to an order a visit comes: 0 a page, 5 the order itself.
DEPTHS = (
    ("Products Searched", 1),
    ("Product List Viewed", 1),
    ("Product Clicked", 2),
    ("Product Viewed", 2),
    (ADDED, 3),
    ("Cart Viewed", 3),
    ("Checkout Started", 4),
    ("Order Completed", 5),
)
#: A letter goes out, or arrives; a person opens it. Both name it by `email_id`, else `message_id`.
LETTER_SENT = ("Message Sent", "Email Delivered", "Push Notification Received", "SMS Delivered", "Message Delivered")
LETTER_OPENED = ("Email Opened", "Push Notification Opened", "SMS Opened", "Message Opened")
#: Customers who speak for us.
ADVOCATING = ("Product Reviewed", "Product Shared", "Cart Shared", "Invite Sent", "Referral Completed")

_BY_PERSON = (("is_machine", False),)
_IN_PERSON = ("live", "import")


def _newest(*parts: Part) -> Keeps:
    return Keeps(parts=parts, at_most=1)


def _said(channel: str) -> Tap:
    measure = f"is_{channel}_out"
    kept = _newest(Part(name="is_out", measure=measure))
    return Tap(name=f"said_{channel}", events=SPEAKING, needs=(measure,), keeps=kept)


TAPS: tuple[Tap, ...] = (
    Tap(
        name="orders",
        events=("Order Completed",),
        value="value_minor",
        keeps=Keeps(
            parts=(
                Part(name="value", measure="value_minor", null=-1),
                Part(name="categories", measure="categories", null=""),
            ),
            at_most=100,
            window=ORDER_WINDOW,
        ),
    ),
    Tap(name="discounted", events=("Order Completed",), where=(("is_discounted", True),)),
    Tap(name="refunds", events=("Order Refunded",), value="value_minor"),
    Tap(name="views", events=("Product Viewed", "Product List Viewed")),
    Tap(name="adds", events=(ADDED,)),
    Tap(name="conversions", events=(ADDED, "Product Added to Wishlist", *CHECKOUT)),
    Tap(
        name="cart",
        events=(ADDED, REMOVED),
        keeps=Keeps(
            parts=(
                Part(name="product", measure="product_id", null=""),
                Part(name="units", measure="quantity", null=1),
                Part(name="is_removed", by_event=((REMOVED, 1),)),
                Part(name="price", measure="price_minor", null=-1),
            ),
            at_most=CART_MAX_OPS,
            window=CART_WINDOW,
            since_last="orders",
        ),
    ),
    Tap(
        name="sights",
        events=("Product List Viewed", "Product Clicked", "Product Viewed", ADDED),
        needs=("category", "product_id"),
        keeps=Keeps(
            parts=(
                Part(name="category", measure="category", null=""),
                Part(name="product", measure="product_id", null=""),
            ),
            at_most=200,
            window=SIGHT_WINDOW,
        ),
    ),
    Tap(
        name="visits",
        events=VISITING,
        origins=_IN_PERSON,
        keeps=Keeps(parts=(Part(name="depth", by_event=DEPTHS),), at_most=200, window=VISIT_WINDOW),
    ),
    Tap(
        name="letters",
        events=(*LETTER_SENT, *LETTER_OPENED),
        where=_BY_PERSON,
        needs=("letter",),
        keeps=Keeps(
            parts=(
                Part(name="letter", measure="letter", null=""),
                Part(name="is_opened", by_event=tuple((name, 1) for name in LETTER_OPENED)),
            ),
            at_most=LETTER_MAX_OPS,
            window=LETTER_WINDOW,
        ),
    ),
    Tap(name="activity", but_not=EMAIL_OUTCOMES, origins=_IN_PERSON),
    Tap(name="advocacy", events=ADVOCATING),
    Tap(name="sends", events=("Message Sent",), origins=("own",)),
    Tap(name="emails_sent", events=("Message Sent",), origins=("own",), where=(("channel", "email"),)),
    Tap(name="pushes_sent", events=("Message Sent",), origins=("own",), where=(("channel", "push"),)),
    Tap(name="sms_sent", events=("Message Sent",), origins=("own",), where=(("channel", "sms"),)),
    Tap(name="emails_opened", events=("Email Opened",), where=_BY_PERSON),
    Tap(name="emails_machine_opened", events=("Email Opened",), where=(("is_machine", True),)),
    Tap(name="emails_clicked", events=("Email Link Clicked",), where=_BY_PERSON),
    Tap(name="pushes_opened", events=("Push Notification Opened", "Push Notification Tapped"), where=_BY_PERSON),
    Tap(
        name="zone_trait",
        events=("Identified",),
        origins=_IN_PERSON,
        needs=("zone_trait",),
        keeps=_newest(Part(name="zone", measure="zone_trait", null="")),
    ),
    Tap(
        name="zone_context",
        origins=_IN_PERSON,
        needs=("zone",),
        keeps=_newest(Part(name="zone", measure="zone", null="")),
    ),
    Tap(
        name="accounts",
        events=("Grouped",),
        origins=_IN_PERSON,
        needs=("account_id",),
        keeps=_newest(
            Part(name="account", measure="account_id", null=""),
            Part(name="plan", measure="account_plan", null=""),
            Part(name="employees", measure="account_employees", null=-1),
            Part(name="created", measure="account_created_us", null=-1),
        ),
    ),
    _said("any"),
    _said("email"),
    _said("push"),
    _said("sms"),
    _said("profiling"),
)

TAP_NAMES: tuple[str, ...] = tuple(tap.name for tap in TAPS)
TAP_BY_NAME: dict[str, Tap] = {tap.name: tap for tap in TAPS}
