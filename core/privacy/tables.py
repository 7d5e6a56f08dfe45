"""Every table of the database, in an order in which each comes after those that it points to."""

from datetime import timedelta

from core.accounts.web_sessions import IDLE_END
from core.mail.consents import WAY_OUT
from core.mail.deliveries import SECRET_FACTS
from core.privacy.registry import YEAR, DataClass, Ends, Erasure, Table
from core.privacy.tables_money import MONEY
from core.privacy.tables_rights import RIGHTS
from core.privacy.tables_teams import TEAMS

DAY = timedelta(days=1)
MINE = "account_id = :account"
OF_CONSULTATION = "consultation_id in (select id from consultations where account_id = :account)"
OF_MEDIA = "media_id in (select id from media where account_id = :account)"
BY_ANOTHER = "actor_id is not null and actor_id <> account_id"  # an admin, whose address is not this person's
MAIL_IS_THROUGH = "state not in ('queued', 'sending', 'deferred')"
NO_FACTS = """'{"wiped": true}'"""  # as core/mail/deliveries.py says that a mail cannot be sent again

PEOPLE = (
    Table(
        "accounts",
        DataClass.ACCOUNT,
        owner="id = :account",
        given="id email name company role email_verified_at disabled_at closing_at restricted_at"
        " restricted_until email_codes created_at",
        secret="password_hash",  # noqa: S106  # the name of a column
        inner="email_key erased_at",
        # An address that nobody confirmed may be somebody's who never asked for this.
        sooner=(Ends(timedelta(days=7), only="email_verified_at is null"),),
        erasure=Erasure.BLANKED,
        blank={
            "email": "id || '@erased.invalid'",
            "email_key": "id || '@erased.invalid'",
            "password_hash": "''",
            "name": "''",
            "company": "null",
            "email_codes": "false",
            "role": "'user'",
        },
        why="A number without name or address, to which the books point.",
    ),
    Table(
        "account_codes",
        DataClass.ACCOUNT,
        owner=MINE,
        given="id purpose name company policies tries expires_at used_at created_at",
        secret="code_hash password_hash browser_hash",  # noqa: S106  # names of columns
        inner="account_id",
        ends=Ends(DAY),
        erasure=Erasure.DELETED,
    ),
    Table(
        "web_sessions",
        DataClass.ACCOUNT,
        owner=MINE,
        given="id user_agent ip created_at seen_at expires_at proven_at factor",
        secret="token_hash",  # noqa: S106  # the name of a column
        inner="account_id",
        ends=Ends(timedelta(0), since="expires_at"),
        sooner=(Ends(IDLE_END, since="seen_at"),),
        erasure=Erasure.DELETED,
    ),
    Table(
        "totps",
        DataClass.ACCOUNT,
        owner=MINE,
        given="confirmed_at created_at",
        secret="secret last_step",  # noqa: S106  # names of columns
        inner="account_id",
        ends=Ends(DAY, only="confirmed_at is null"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "passkeys",
        DataClass.ACCOUNT,
        owner=MINE,
        given="id name aaguid transports backup_eligible backed_up created_at used_at",
        secret="credential_id public_key sign_count",  # noqa: S106  # names of columns
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "passkey_challenges",
        DataClass.ACCOUNT,
        owner=MINE,
        secret="challenge bound_to",  # noqa: S106  # names of columns
        inner="purpose account_id expires_at",
        ends=Ends(timedelta(0), since="expires_at"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "recovery_codes",
        DataClass.ACCOUNT,
        owner=MINE,
        given="used_at created_at",
        secret="code_hash",  # noqa: S106  # the name of a column
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "sign_in_attempts",
        DataClass.ACCOUNT,
        owner=MINE,
        secret="token_hash password_mark",  # noqa: S106  # names of columns
        inner="account_id expires_at",
        ends=Ends(timedelta(0), since="expires_at"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "email_codes",
        DataClass.ACCOUNT,
        owner=MINE,
        given="purpose tries expires_at used_at created_at",
        secret="attempt_hash code_hash",  # noqa: S106  # names of columns
        inner="id account_id",
        ends=Ends(DAY),
        erasure=Erasure.DELETED,
    ),
    Table(
        "lost_factors",
        DataClass.ACCOUNT,
        owner=MINE,
        given="id due_at told_at ended_at outcome created_at",
        inner="account_id",
        ends=Ends(YEAR, since="ended_at"),
        erasure=Erasure.DELETED,
    ),
    Table(
        "mail_deliveries",
        DataClass.MAIL,
        owner=MINE,
        given="id recipient template language facts state error created_at sent_at",
        given_as={"facts": f"facts - array{[*SECRET_FACTS, WAY_OUT]}"},
        inner="key account_id resends",
        ends=Ends(YEAR, only=MAIL_IS_THROUGH),
        sooner=(
            Ends(timedelta(days=90), only=f"{MAIL_IS_THROUGH} and facts <> {NO_FACTS}", blank={"facts": NO_FACTS}),
            Ends(timedelta(days=7), only="template in ('no_account', 'email_change_code')"),  # maybe nobody's here
        ),
        erasure=Erasure.DELETED,
    ),
    Table(
        "mail_consents",
        DataClass.CONSENT,
        owner=MINE,
        given="id topic wanted via words at",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "notices",
        DataClass.MAIL,
        owner=MINE,
        given="id kind facts created_at read_at",
        inner="key account_id",
        ends=Ends(YEAR),
        erasure=Erasure.DELETED,
    ),
    Table(
        "announcements",
        DataClass.HOUSE,
        inner="id title text made_by state round reached written created_at",
    ),
    Table(
        "media",
        DataClass.MEDIA,
        owner=MINE,
        given="id name size state reason width height colour created_at",
        inner="account_id sha256 job_id",
        erasure=Erasure.BLANKED,
        blank={"account_id": "null", "name": "''"},
        why="Pictures that a published post shows stay with the post, without your name.",
    ),
    Table("media_blocks", DataClass.MEDIA, owner=OF_MEDIA, inner="media_id number"),
    Table("media_files", DataClass.MEDIA, owner=OF_MEDIA, given="media_id name width height size"),
    Table("media_uses", DataClass.MEDIA, owner=OF_MEDIA, given="media_id used_by"),
)

DOINGS = (
    Table(
        "services",
        DataClass.HOUSE,
        inner="id slug version name summary description category system_prompt sample_questions input_mc_per_1k "
        "output_mc_per_1k max_output_tokens min_output_tokens max_question_chars position listed created_at",
    ),
    Table(
        "consultations",
        DataClass.USAGE,
        owner=MINE,
        given="id service_id created_at",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "messages",
        DataClass.USAGE,
        owner=OF_CONSULTATION,
        given="id consultation_id role said_on bytes created_at",
        erasure=Erasure.DELETED,
    ),
    Table(
        "message_texts",
        DataClass.TRANSCRIPT,
        owner="(said_on, message_id) in (select said_on, messages.id from messages join consultations"
        " on consultations.id = consultation_id where account_id = :account)",
        given="said_on message_id text",
        ends=Ends(timedelta(days=30), since="said_on", days=True),
        erasure=Erasure.DELETED,
    ),
    Table(
        "generations",
        DataClass.USAGE,
        owner=OF_CONSULTATION,
        given="id consultation_id question_id answer_id service_id hold_id hold_mc prompt_cap output_cap state"
        " end_reason prompt_tokens completion_tokens usage_estimated cost_mc created_at ended_at",
        inner="job_id",
        erasure=Erasure.DELETED,
    ),
    Table("posts", DataClass.HOUSE, inner="id state version scheduled_at published_at created_at updated_at"),
    Table(
        "post_revisions",
        DataClass.USAGE,
        owner="made_by = :account",
        given="id post_id number based_on source made_at",
        inner="made_by",
        erasure=Erasure.BLANKED,
        blank={"made_by": "null"},
        why="Posts of the house stay, without saying who saved them.",
    ),
    Table("post_slugs", DataClass.HOUSE, inner="slug post_id"),
    Table(
        "post_pages",
        DataClass.HOUSE,
        inner="post_id revision slug title summary tags author author_slug cover cover_alt description canonical body"
        " html text renderer words listed published_at updated_at",
    ),
    Table("blog_stamps", DataClass.HOUSE, inner="id stamp"),
    Table("post_readings", DataClass.HOUSE, inner="post_id day readers"),
    Table(
        "post_readers",
        DataClass.LOG,
        inner="day post_id reader",
        ends=Ends(DAY, since="day"),
    ),
    Table(
        "post_likes",
        DataClass.USAGE,
        owner=MINE,
        given="post_id made_at",
        inner="account_id",
        erasure=Erasure.DELETED,
    ),
    Table(
        "post_comments",
        DataClass.USAGE,
        owner=MINE,
        given="id post_id source state made_at decided_at",
        inner="account_id decided_by",
        sooner=(Ends(timedelta(days=30), since="decided_at", only="state = 'refused'"),),
        erasure=Erasure.DELETED,
    ),
    Table(
        "jobs",
        DataClass.LOG,
        owner=MINE,
        given="id task state attempts error created_at started_at finished_at",
        inner="queue key account_id payload max_attempts backoff backoff_cap available_at ring_at rings claim"
        " lease_until cancel_requested_at result dead",
        ends=Ends(timedelta(days=30), since="finished_at"),
        erasure=Erasure.BLANKED,
        blank={"payload": "'{}'", "result": "null"},
        why="That work was done, for thirty days; not what it was about.",
    ),
    Table(
        "kept_answers",
        DataClass.LOG,
        owner=MINE,
        given="answer created_at",
        inner="account_id key request_hash",
        ends=Ends(DAY),
        erasure=Erasure.DELETED,
    ),
    Table(
        "limit_counts", DataClass.LOG, inner="key tries counted forget_at", ends=Ends(timedelta(0), since="forget_at")
    ),
    Table(
        "audit_entries",
        DataClass.LOG,
        owner=MINE,
        given="id at action object outcome ip user_agent request_id facts",
        given_as={
            "ip": f"case when {BY_ANOTHER} then '' else ip end",
            "user_agent": f"case when {BY_ANOTHER} then '' else user_agent end",
        },
        inner="actor_id account_id",
        ends=Ends(YEAR, since="at"),
        erasure=Erasure.BLANKED,
        blank={
            "ip": "case when actor_id is not null and actor_id <> account_id then ip else '' end",
            "user_agent": "case when actor_id is not null and actor_id <> account_id then user_agent else '' end",
            "facts": "audit_facts_without_person(facts)",
        },
        why="The security log is kept for a year from each entry, to find abuse; without where you were.",
    ),
    Table("alembic_version", DataClass.HOUSE, inner="version_num"),
)

TABLES = PEOPLE + TEAMS + MONEY + DOINGS + RIGHTS
