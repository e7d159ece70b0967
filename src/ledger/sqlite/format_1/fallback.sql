-- A ledger as the first version of otpdrive left it (fallback), and the status it gave each row:
-- pending pending pending pending pending pending pending pending pending pending pending pending pending pending pending
BEGIN TRANSACTION;
CREATE TABLE ledger (
    next_id INTEGER NOT NULL,
    salt    BLOB NOT NULL          -- makes the prints of codes useless outside this file
) STRICT;
INSERT INTO ledger VALUES(16,X'6097d7750f82132179e75f02a5b39dca9d5e2c3b741aaf21218478213ad99a7d');
CREATE TABLE campaign (
    id           INTEGER PRIMARY KEY,
    operation    TEXT NOT NULL,
    name         TEXT NOT NULL,
    sandbox      INTEGER NOT NULL,
    input_name   TEXT NOT NULL,    -- the latest input ...
    input_sha256 TEXT NOT NULL,
    reading      TEXT NOT NULL,    -- ... and the settings it was read with
    header       TEXT NOT NULL,
    rows         INTEGER NOT NULL,
    first_row    INTEGER NOT NULL, -- its rows are contact.id first_row .. first_row + rows
    UNIQUE (name, operation, sandbox)
) STRICT;
INSERT INTO campaign VALUES(1,'send','fallback',0,'fallback.csv','8fdbffb3c39ca37012c3dfb0fd7887506cc8b0f9545f13ce355fb743e06e4500','otpdrive 0.1.0, '','', "phone", None, None, Send, sms, IN','phone',15,1);
CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    campaign     INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    finished_at  INTEGER,          -- NULL: running, or killed
    end          TEXT,
    last_left_at INTEGER,
    settings     TEXT NOT NULL,
    version      TEXT NOT NULL
) STRICT;
INSERT INTO run VALUES(1,1,1795655130089816,1795655130655119,'{"interrupted":"SIGINT"}',1795655130252656,'{"backoff_base_s":0.01,"backoff_cap_s":0.02,"channel":"sms","concurrency":3,"connect_timeout_s":1.0,"endpoint":"http://127.0.0.1:8901/api/v1/TwoFactor","fallback":"call","limit":null,"max_attempts":5,"max_duration_s":null,"max_invalid_percent":50.0,"max_outage_s":900.0,"on_server_error":"retry","on_unknown":"hold","rate_per_s":20.0,"region":"IN","timeout_s":2.0}','0.1.0');
CREATE TABLE contact (
    id         INTEGER PRIMARY KEY,
    line       INTEGER NOT NULL,
    record     TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    number     INTEGER,            -- NULL: see problem
    problem    TEXT,
    assumed    INTEGER NOT NULL,   -- taken as a mobile against the numbering plan's data
    job        INTEGER,            -- NULL: its own
    first_line INTEGER,            -- NOT NULL: the same job stands on that line already
    code       TEXT,               -- until the job is settled
    code_print INTEGER             -- keyed hash of the code; 0: none; NULL: masked
) STRICT;
INSERT INTO contact VALUES(1,2,'9999900001',0,919999900001,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(2,3,'9999900002',0,919999900002,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(3,4,'9999900003',0,919999900003,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(4,5,'9999900050',0,919999900050,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(5,6,'9999900099',0,919999900099,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(6,7,'9999900101',0,919999900101,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(7,8,'9999900102',0,919999900102,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(8,9,'9999900103',0,919999900103,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(9,10,'9999900104',0,919999900104,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(10,11,'9999900105',0,919999900105,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(11,12,'9999900106',0,919999900106,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(12,13,'9999900107',0,919999900107,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(13,14,'9999900108',0,919999900108,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(14,15,'9999900109',0,919999900109,NULL,0,NULL,NULL,NULL,0);
INSERT INTO contact VALUES(15,16,'9999900110',0,919999900110,NULL,0,NULL,NULL,NULL,0);
CREATE TABLE known (
    number     INTEGER NOT NULL,
    campaign   INTEGER NOT NULL,
    code_print INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (number, campaign, code_print)
) STRICT, WITHOUT ROWID;
INSERT INTO known VALUES(919999900001,1,0,1);
INSERT INTO known VALUES(919999900002,1,0,2);
INSERT INTO known VALUES(919999900003,1,0,3);
INSERT INTO known VALUES(919999900050,1,0,4);
INSERT INTO known VALUES(919999900099,1,0,5);
INSERT INTO known VALUES(919999900101,1,0,6);
INSERT INTO known VALUES(919999900102,1,0,7);
INSERT INTO known VALUES(919999900103,1,0,8);
INSERT INTO known VALUES(919999900104,1,0,9);
INSERT INTO known VALUES(919999900105,1,0,10);
INSERT INTO known VALUES(919999900106,1,0,11);
INSERT INTO known VALUES(919999900107,1,0,12);
INSERT INTO known VALUES(919999900108,1,0,13);
INSERT INTO known VALUES(919999900109,1,0,14);
INSERT INTO known VALUES(919999900110,1,0,15);
CREATE TABLE attempt (
    job         INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    run         INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    try_number  INTEGER NOT NULL,
    tries_max   INTEGER NOT NULL,
    fallback    INTEGER,
    begun_at    INTEGER NOT NULL,  -- microseconds since 1970, as all times here
    left_at     INTEGER,           -- NULL: not answered
    answered_at INTEGER,
    verdict     INTEGER,
    text        TEXT,
    retry_at    INTEGER,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
INSERT INTO attempt VALUES(1,1,1,0,1,5,1,1795655130147361,1795655130156323,1795655130560334,3,'This number cannot be reached',NULL);
INSERT INTO attempt VALUES(2,1,1,0,1,5,1,1795655130187866,1795655130202374,1795655130608784,3,'API key or Phone Number Missing',NULL);
INSERT INTO attempt VALUES(3,1,1,0,1,5,1,1795655130237825,1795655130252656,1795655130653938,3,'This number cannot be reached',NULL);
CREATE INDEX run_campaign ON run (campaign);
CREATE INDEX attempt_retry_at ON attempt (lane, retry_at) WHERE retry_at IS NOT NULL;
COMMIT;
PRAGMA application_id = 0x4f545044;
PRAGMA user_version = 1;
