"""Tables of what we publish, what each person agreed to, and of pages counted without anybody's name."""

from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table

MINE = "account_id = :account"

POLICIES = (
    Table(
        "policy_versions",
        DataClass.HOUSE,
        inner="document number weight summary text hash effective_at published_at reached told all_told_at",
    ),
    Table(
        "policy_engagements",
        DataClass.CONSENT,
        owner=MINE,
        given="id document number what via at",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "consents",
        DataClass.CONSENT,
        owner=MINE,
        given="id purpose wanted words via gpc at",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table("analytics_counts", DataClass.HOUSE, inner="day route what n", ends=Ends(2 * YEAR, since="day")),
)
