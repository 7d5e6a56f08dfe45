-- The moves of the ledger. Each locks the account's row first, so that all moves of one account stand in a queue, and
-- only then reads lots and holds: inside a function every statement sees what was committed before it began. One move
-- is one call, so one round trip, and the account's row is written once, at its end, with the constraints looking on.
--
-- Of each lot:     amount = left + held + spent + reversed + expired
-- Of each account: balance = free + held - owed, where free is what its lots have left; owed is spending, or an open
--                  hold, that no lot covers, and an account that owes has nothing free.
-- Lots are used first to expire first, then oldest first.

create function credits_cover(p_account uuid, p_owed bigint) returns bigint language plpgsql as $$
-- Have free lots pay what is owed: what was spent first, then what is held. Returns how much they paid.
-- The caller holds the account's row and writes it.
declare
    unpaid bigint := p_owed;
    held_uncovered bigint;
    lot record;
    hold record;
    taken bigint;
    pinned bigint;
    part bigint;
begin
    select coalesce(sum(uncovered_mc), 0) into held_uncovered
    from credit_holds where account_id = p_account and state = 'held' and uncovered_mc > 0;
    for lot in
        select id, left_mc from credit_lots where account_id = p_account and left_mc > 0
        order by expires_at nulls last, id
    loop
        exit when unpaid = 0;
        taken := least(lot.left_mc, unpaid);
        pinned := taken - least(taken, unpaid - held_uncovered);
        update credit_lots set left_mc = left_mc - taken, spent_mc = spent_mc + taken - pinned, held_mc = held_mc + pinned
        where id = lot.id;
        unpaid := unpaid - taken;
        held_uncovered := held_uncovered - pinned;
        for hold in
            select id, uncovered_mc from credit_holds
            where account_id = p_account and state = 'held' and uncovered_mc > 0 order by id
        loop
            exit when pinned = 0;
            part := least(hold.uncovered_mc, pinned);
            update credit_holds set uncovered_mc = uncovered_mc - part where id = hold.id;
            insert into credit_pins (hold_id, lot_id, amount_mc) values (hold.id, lot.id, part)
            on conflict (hold_id, lot_id) do update set amount_mc = credit_pins.amount_mc + part;
            pinned := pinned - part;
        end loop;
    end loop;
    return p_owed - unpaid;
end $$;

create function credits_grant(p_account uuid, p_amount bigint, p_source text, p_kind text, p_expires_at timestamptz)
returns boolean language plpgsql as $$
-- A new lot; it pays what is owed first. Returns whether this call made it: a source counts once.
declare
    account credit_accounts;
begin
    insert into credit_accounts (account_id) values (p_account) on conflict do nothing;
    select * into account from credit_accounts where account_id = p_account for update;
    insert into credit_lots (account_id, source, kind, amount_mc, left_mc, expires_at)
    values (p_account, p_source, p_kind, p_amount, p_amount, p_expires_at)
    on conflict (source) do nothing;
    if not found then
        return false;
    end if;
    if account.owed_mc > 0 then
        account.owed_mc := account.owed_mc - credits_cover(p_account, account.owed_mc);
    end if;
    update credit_accounts set balance_mc = account.balance_mc + p_amount, owed_mc = account.owed_mc
    where account_id = p_account;
    insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
    values (p_account, p_amount, account.balance_mc + p_amount, p_kind, p_source);
    return true;
end $$;

create function credits_expire(p_account uuid) returns bigint language plpgsql as $$
-- Take what is left of lots whose date has come. Returns the millicredits.
declare
    account credit_accounts;
    lot record;
    gone bigint := 0;
begin
    select * into account from credit_accounts where account_id = p_account for update;
    for lot in
        select id, left_mc from credit_lots where account_id = p_account and left_mc > 0 and expires_at <= now()
        order by expires_at, id
    loop
        gone := gone + lot.left_mc;
        insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
        select p_account, -lot.left_mc, account.balance_mc - gone, 'expiry', source || ':expiry:' || moves + 1
        from credit_lots where id = lot.id;
        update credit_lots set left_mc = 0, expired_mc = expired_mc + lot.left_mc, moves = moves + 1 where id = lot.id;
    end loop;
    update credit_accounts set balance_mc = account.balance_mc - gone where account_id = p_account and gone > 0;
    return gone;
end $$;

create function credits_hold(
    p_hold uuid, p_account uuid, p_at_least bigint, p_at_most bigint, p_source text, p_life interval
) returns bigint language plpgsql as $$
-- Pin up to p_at_most of what is free, or all of it down to p_at_least. Returns how much; null when there is less.
declare
    free bigint;
    amount bigint;
    unpinned bigint;
    part bigint;
    lot record;
begin
    select balance_mc - held_mc + owed_mc into free from credit_accounts where account_id = p_account for update;
    if exists (select from credit_lots where account_id = p_account and left_mc > 0 and expires_at <= now()) then
        free := free - credits_expire(p_account);
    end if;
    if free is null or free < p_at_least then
        return null;
    end if;
    amount := least(p_at_most, free);
    insert into credit_holds (id, account_id, amount_mc, source, expires_at)
    values (p_hold, p_account, amount, p_source, now() + p_life);
    unpinned := amount;
    for lot in
        select id, left_mc from credit_lots where account_id = p_account and left_mc > 0
        order by expires_at nulls last, id
    loop
        exit when unpinned = 0;
        part := least(lot.left_mc, unpinned);
        update credit_lots set left_mc = left_mc - part, held_mc = held_mc + part where id = lot.id;
        insert into credit_pins (hold_id, lot_id, amount_mc) values (p_hold, lot.id, part);
        unpinned := unpinned - part;
    end loop;
    if unpinned > 0 then
        raise exception 'account % has % less in its lots than in its row', p_account, unpinned;
    end if;
    update credit_accounts set held_mc = held_mc + amount where account_id = p_account;
    return amount;
end $$;

create function credits_resolve(p_hold uuid, p_cost bigint) returns bigint language plpgsql as $$
-- End a hold: take its cost, never more than was held, and free the rest; without a cost, all of it.
-- Returns what was taken; null when it was resolved before.
declare
    account credit_accounts;
    hold credit_holds;
    pin record;
    unspent bigint;
    part bigint;
begin
    select * into account from credit_accounts
    where account_id = (select account_id from credit_holds where id = p_hold) for update;
    update credit_holds
    set state = case when p_cost is null then 'released' else 'settled' end,
        settled_mc = case when p_cost is not null then least(p_cost, amount_mc) end, resolved_at = now()
    where id = p_hold and state = 'held' returning * into hold;
    if not found then
        return null;
    end if;
    unspent := coalesce(hold.settled_mc, 0);
    for pin in
        with gone as (delete from credit_pins where hold_id = p_hold returning lot_id, amount_mc)
        select gone.lot_id, gone.amount_mc from gone join credit_lots lot on lot.id = gone.lot_id
        order by lot.expires_at nulls last, lot.id
    loop
        part := least(pin.amount_mc, unspent);
        update credit_lots
        set held_mc = held_mc - pin.amount_mc, spent_mc = spent_mc + part, left_mc = left_mc + pin.amount_mc - part
        where id = pin.lot_id;
        unspent := unspent - part;
    end loop;
    account.balance_mc := account.balance_mc - coalesce(hold.settled_mc, 0);
    account.owed_mc := account.owed_mc - (hold.uncovered_mc - unspent);
    if account.owed_mc > 0 then
        account.owed_mc := account.owed_mc - credits_cover(account.account_id, account.owed_mc);
    end if;
    update credit_accounts
    set balance_mc = account.balance_mc, held_mc = held_mc - hold.amount_mc, owed_mc = account.owed_mc
    where account_id = account.account_id;
    if hold.settled_mc > 0 then
        insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
        values (account.account_id, -hold.settled_mc, account.balance_mc, 'usage', hold.source);
    end if;
    return coalesce(hold.settled_mc, 0);
end $$;

create function credits_reverse_to(p_source text, p_target bigint, p_kind text) returns bigint language plpgsql as $$
-- Have just so much of a lot be taken back as p_target says, however much was before: what is left of it first, then
-- what was spent, then what is held, of which the last two become owed. Less than before is given back.
-- Returns the change of the balance.
declare
    account credit_accounts;
    lot credit_lots;
    more bigint;
    of_left bigint;
    of_spent bigint;
    of_held bigint;
    part bigint;
    pin record;
begin
    select * into account from credit_accounts
    where account_id = (select account_id from credit_lots where source = p_source) for update;
    select * into lot from credit_lots where source = p_source;
    if not found then
        raise exception 'there is no lot %', p_source;
    end if;
    more := least(greatest(p_target, 0), lot.amount_mc - lot.expired_mc) - lot.reversed_mc;
    if more = 0 then
        return 0;
    end if;
    of_left := least(more, lot.left_mc);  -- below nothing when it is given back
    of_spent := least(more - of_left, lot.spent_mc);
    of_held := more - of_left - of_spent;
    update credit_lots
    set left_mc = left_mc - of_left, spent_mc = spent_mc - of_spent, held_mc = held_mc - of_held,
        reversed_mc = reversed_mc + more, moves = moves + 1
    where id = lot.id;
    account.owed_mc := account.owed_mc + of_spent + of_held;
    for pin in select hold_id, amount_mc from credit_pins where lot_id = lot.id order by hold_id loop
        exit when of_held = 0;
        part := least(pin.amount_mc, of_held);
        delete from credit_pins where hold_id = pin.hold_id and lot_id = lot.id and amount_mc = part;
        update credit_pins set amount_mc = amount_mc - part where hold_id = pin.hold_id and lot_id = lot.id;
        update credit_holds set uncovered_mc = uncovered_mc + part where id = pin.hold_id;
        of_held := of_held - part;
    end loop;
    if account.owed_mc > 0 then
        account.owed_mc := account.owed_mc - credits_cover(account.account_id, account.owed_mc);
    end if;
    update credit_accounts set balance_mc = account.balance_mc - more, owed_mc = account.owed_mc
    where account_id = account.account_id;
    insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
    values (
        account.account_id, -more, account.balance_mc - more, case when more > 0 then p_kind else 'restored' end,
        p_source || ':' || case when more > 0 then p_kind else 'restored' end || ':' || lot.moves + 1
    );
    return -more;
end $$;

create function credits_take(p_account uuid, p_amount bigint, p_source text, p_kind text) returns boolean
language plpgsql as $$
-- Take credits without a hold; what the lots do not have left becomes owed. Returns whether this call did: once a source.
declare
    account credit_accounts;
begin
    insert into credit_accounts (account_id) values (p_account) on conflict do nothing;
    select * into account from credit_accounts where account_id = p_account for update;
    insert into credit_entries (account_id, amount_mc, balance_after_mc, kind, source)
    values (p_account, -p_amount, account.balance_mc - p_amount, p_kind, p_source)
    on conflict (source) do nothing;
    if not found then
        return false;
    end if;
    account.owed_mc := account.owed_mc + p_amount;
    account.owed_mc := account.owed_mc - credits_cover(p_account, account.owed_mc);
    update credit_accounts set balance_mc = account.balance_mc - p_amount, owed_mc = account.owed_mc
    where account_id = p_account;
    return true;
end $$;
