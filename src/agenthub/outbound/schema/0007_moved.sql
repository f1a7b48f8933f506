-- A charge may count to fewer budgets than it was held on: those of targets that did not serve it
-- are let off, whatever state it is in.

CREATE TRIGGER charge_unheld AFTER DELETE ON charge_hold BEGIN
    UPDATE budget_window SET (reserved, settled) = (SELECT
        budget_window.reserved - iif(state = 'reserved', hold, 0), budget_window.settled - cost
        FROM charge WHERE id = old.charge) WHERE id = old.win;
END;
