"""Tables of teams. Who is in a team with somebody else is given to neither: of a team an export has the name."""

from datetime import timedelta

from core.privacy.registry import DataClass, Ends, Erasure, Table

MINE = "account_id = :account"

TEAMS = (
    Table(
        "teams",
        DataClass.ACCOUNT,
        owner="id in (select team_id from team_members where account_id = :account)",
        given="id name created_at",
        # An erasure hands them over, or deletes those in which nobody is left (core/teams/teams.py, hand_over).
        erasure=Erasure.UNTOUCHED,
    ),
    Table(
        "team_members",
        DataClass.ACCOUNT,
        owner=MINE,
        given="team_id role joined_at content_since",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "team_invitations",
        DataClass.ACCOUNT,
        owner="email_key in (select email_key from accounts where id = :account)",
        given="id email created_at expires_at",
        inner="team_id email_key invited_by",
        ends=Ends(timedelta(0), since="expires_at"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "team_looks",
        DataClass.LOG,
        owner=MINE,
        given="id team_name what consultation_id at",
        inner="account_id viewer_id team_id",
        ends=Ends(timedelta(days=365), since="at"),
        erasure=Erasure.DELETED,
    ),
)
