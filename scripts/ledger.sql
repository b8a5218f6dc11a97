-- The ledger's file: which parameter has which value. Any SQLite client may read it while a run goes on.

-- What the file is about; one row.
CREATE TABLE run(
    run         TEXT NOT NULL,
    stamp       TEXT NOT NULL,     -- the code that the run began with
    task        TEXT NOT NULL,
    space       TEXT NOT NULL,     -- digest of the parameter space
    description TEXT NOT NULL,
    total       INTEGER NOT NULL,
    seed        INTEGER NOT NULL,
    created     REAL NOT NULL      -- all times: seconds since the epoch
);

-- The value of a parameter, JSON text as the worker sent it. The first one to arrive stays.
CREATE TABLE results(parameter INTEGER PRIMARY KEY, value TEXT NOT NULL);

-- Parameters that failed their last attempt and have no value. A value that arrives later replaces the record.
CREATE TABLE dead(parameter INTEGER PRIMARY KEY, error TEXT NOT NULL, attempts INTEGER NOT NULL);

-- Values that arrived for a parameter with another value.
CREATE TABLE disagreements(
    parameter INTEGER NOT NULL,
    first     TEXT NOT NULL,
    other     TEXT NOT NULL,
    worker    TEXT NOT NULL,
    PRIMARY KEY (parameter, worker, other)
);

-- Results that were computed by other code than the run began with: first..last, both included.
CREATE TABLE changed_code(first INTEGER PRIMARY KEY, last INTEGER NOT NULL UNIQUE, stamp TEXT NOT NULL);

-- What the workers did, as far as they told.
CREATE TABLE workers(
    name    TEXT PRIMARY KEY,
    node    TEXT NOT NULL,
    state   TEXT NOT NULL,
    chunk   TEXT NOT NULL,         -- the last one it reported
    done    INTEGER NOT NULL,
    retried INTEGER NOT NULL,
    dead    INTEGER NOT NULL,
    seconds REAL NOT NULL,         -- spent in the task function
    seen    REAL NOT NULL
);

-- Counts that cannot be had from the tables above.
CREATE TABLE counters(name TEXT PRIMARY KEY, value REAL NOT NULL);

-- What happened, for people.
CREATE TABLE events(id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL);
