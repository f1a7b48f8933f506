-- As 0007_moved.sql: a charge may count to fewer budgets than it was held on.

CREATE FUNCTION charge_unheld() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE budget_window AS kept SET settled = settled - one.cost, reserved = reserved
        - CASE WHEN one.state = 'reserved' THEN one.hold ELSE 0 END
        FROM charge AS one WHERE one.id = old.charge AND kept.id = old.win;
    RETURN NULL;
END $$;
CREATE TRIGGER charge_unheld AFTER DELETE ON charge_hold FOR EACH ROW
    EXECUTE FUNCTION charge_unheld();

CREATE FUNCTION ledger_move(name text, served_by json, off json) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE number bigint; BEGIN
    UPDATE charge SET provider = left(served_by->>0, 200), endpoint = left(served_by->>1, 200),
        model = left(served_by->>2, 200) WHERE call = name RETURNING id INTO number;
    DELETE FROM charge_hold WHERE charge = number AND win IN (SELECT id FROM budget_window
        WHERE budget IN (SELECT value FROM json_array_elements_text(off) AS each(value)));
END $$;

ALTER FUNCTION ledger_step(text, json) RENAME TO ledger_step_1;

CREATE FUNCTION ledger_step(step text, v json) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
    IF step = 'move' THEN
        PERFORM ledger_move(v->>0, json_build_array(v->1, v->2, v->3), v->4);
        RETURN NULL;
    END IF;
    RETURN ledger_step_1(step, v);
END $$;
