"""The one error family of the authority."""


class AuthorityError(Exception):
    """The authority refuses; the message is one sentence for the operator, with the way out."""
