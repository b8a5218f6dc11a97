"""The programs beside the worker: seed, ledger, watch, local, and what two of them share."""
