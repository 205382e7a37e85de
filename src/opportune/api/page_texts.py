"""Every word of the pages that customers see, by language. Add a language by adding a block with the same keys."""

from collections.abc import Mapping

DEFAULT = "en"
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "unsubscribe_title": "Unsubscribe",
        "unsubscribe_ask": "Do you want to stop getting marketing {channel} from us?",
        "unsubscribe_topic_ask": "Do you want to stop getting {channel} from us about this: {topic}?",
        "unsubscribe_button": "Unsubscribe",
        "unsubscribe_note": "Messages you need, like order confirmations, will still come.",
        "unsubscribed_title": "You are unsubscribed",
        "unsubscribed": "You will get no more marketing {channel} from us, from now on.",
        "unsubscribed_topic": "You will get no more {channel} from us about this: {topic}.",
        "to_preferences": "Choose what you want to hear about",
        "preferences_title": "Your preferences",
        "preferences_intro": "Tick what you want to get. Messages you need, like order confirmations, always come.",
        "preferences_none": "There is nothing to choose from at the moment.",
        "closed": "Not possible: this address was reported or does not work.",
        "profiling_title": "How we choose",
        "profiling": "Choose for me",
        "profiling_note": "We use what you did with us to choose messages that suit you. Without this, fixed rules "
        "decide alone.",
        "save": "Save",
        "all_out": "Unsubscribe from everything",
        "saved": "Your choices are saved.",
        "all_out_done": "You are unsubscribed from everything.",
        "invalid_title": "This link does not work",
        "invalid": "The address is incomplete or was changed. Please open the link in our message once more.",
        "stale_title": "This link has expired",
        "stale": "Please use the link in a newer message from us.",
        "email": "e-mail",
        "push": "push messages",
        "sms": "text messages",
        "inapp": "messages in the app",
        "onsite": "messages on the website",
    },
    "de": {
        "unsubscribe_title": "Abmelden",
        "unsubscribe_ask": "Möchten Sie keine Werbung per {channel} mehr von uns?",
        "unsubscribe_topic_ask": "Möchten Sie dazu nichts mehr per {channel} von uns: {topic}?",
        "unsubscribe_button": "Abmelden",
        "unsubscribe_note": "Nachrichten, die Sie brauchen, etwa Bestellbestätigungen, kommen weiterhin.",
        "unsubscribed_title": "Sie sind abgemeldet",
        "unsubscribed": "Sie bekommen ab jetzt keine Werbung per {channel} mehr von uns.",
        "unsubscribed_topic": "Sie bekommen dazu nichts mehr per {channel} von uns: {topic}.",
        "to_preferences": "Auswählen, worüber Sie etwas hören möchten",
        "preferences_title": "Ihre Einstellungen",
        "preferences_intro": "Kreuzen Sie an, was Sie bekommen möchten. Nachrichten, die Sie brauchen, etwa "
        "Bestellbestätigungen, kommen immer.",
        "preferences_none": "Zurzeit gibt es nichts auszuwählen.",
        "closed": "Nicht möglich: diese Adresse wurde gemeldet oder ist nicht erreichbar.",
        "profiling_title": "Wie wir auswählen",
        "profiling": "Für mich auswählen",
        "profiling_note": "Wir nutzen, was Sie bei uns getan haben, um passende Nachrichten auszuwählen. Ohne dies "
        "entscheiden allein feste Regeln.",
        "save": "Speichern",
        "all_out": "Von allem abmelden",
        "saved": "Ihre Auswahl ist gespeichert.",
        "all_out_done": "Sie sind von allem abgemeldet.",
        "invalid_title": "Dieser Link funktioniert nicht",
        "invalid": "Die Adresse ist unvollständig oder wurde verändert. Bitte öffnen Sie den Link in unserer Nachricht "
        "noch einmal.",
        "stale_title": "Dieser Link ist abgelaufen",
        "stale": "Bitte nehmen Sie den Link in einer neueren Nachricht von uns.",
        "email": "E-Mail",
        "push": "Push-Nachricht",
        "sms": "SMS",
        "inapp": "Nachricht in der App",
        "onsite": "Nachricht auf der Website",
    },
}


def language_of(stated: str | None, accepted: str | None) -> str:
    """The language of a page: the customer's own, else the first the browser accepts that we have, else English.

    `stated`: a BCP 47 tag; `accepted`: an Accept-Language header.
    """
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate((accepted or "")[:500].split(",")):
        tag, _, weight = part.partition(";q=")
        try:
            ranked.append((-float(weight or 1), place, tag))
        except ValueError:
            continue
    for tag in (stated or "", *(tag for _, _, tag in sorted(ranked))):
        language = tag.strip().replace("_", "-").partition("-")[0].lower()
        if language in TEXTS:
            return language
    return DEFAULT
