"""From result messages to a table: encoding, ledger, dataset, collector, reading back."""
