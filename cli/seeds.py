"""What a new house opens with: its services, and where passwords are given for them, an admin and a demo account."""

import os
from datetime import UTC, datetime
from uuid import UUID

from core.accounts.factors import totp
from core.accounts.models import Role
from core.accounts.passwords import hash_password
from core.accounts.profile import provide_account
from core.consultations import catalogue
from core.consultations.offers import OFFERS
from core.credits import ledger
from core.database import transaction
from core.privacy import policies

DEMO_CREDITS_MC = 500_000


async def plant() -> None:
    """Publish the services and make the accounts; again, it changes nothing but passwords."""
    async with transaction() as session:
        for offer in OFFERS:
            await catalogue.publish(session, offer)
        published = await policies.publish_first(session, now=datetime.now(UTC))
    print(f"{len(OFFERS)} services are on offer")
    for document in published:
        print(f"{document}: version 1 is published")
    if password := os.environ.get("CLOFY_SEED_ADMIN_PASSWORD"):
        admin = await _account("admin@clofy.example", "Ada Admin", password, Role.ADMIN)
        if secret := os.environ.get("CLOFY_SEED_ADMIN_TOTP"):
            async with transaction() as session:
                await totp.provide(session, account_id=admin, secret=secret)
    if password := os.environ.get("CLOFY_SEED_DEMO_PASSWORD"):
        demo = await _account("demo@clofy.example", "Dana Demo", password, Role.USER)
        async with transaction() as session:
            await ledger.grant(session, account_id=demo, amount_mc=DEMO_CREDITS_MC, source=f"seed:{demo}", kind="grant")


async def _account(email: str, name: str, password: str, role: Role) -> UUID:
    password_hash = await hash_password(password)
    async with transaction() as session:
        account_id = await provide_account(session, email=email, password_hash=password_hash, name=name, role=role)
    print(f"{role}: {email}")
    return account_id
