-- A ledger as the first version of otpdrive left it (verify), and the status it gave each row:
-- not_verified not_verified unknown verified verified verified unknown unknown unknown pending pending pending verified verified pending duplicate duplicate
BEGIN TRANSACTION;
CREATE TABLE ledger (
    next_id INTEGER NOT NULL,
    salt    BLOB NOT NULL          -- makes the prints of codes useless outside this file
) STRICT;
INSERT INTO ledger VALUES(35,X'59bd6dea171f50b94ccdf6c8581fae53ef89862c34f7e4a25c158da51f5e7f70');
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
INSERT INTO campaign VALUES(1,'verify','verify',0,'verify2.csv','dfc4125ee835019d58cf68332b74ce854981e00a285eff0a825beb40ba5ad98a','otpdrive 0.1.0, '','', "phone", Some("otp"), None, Verify, sms, IN','phone,otp',17,18);
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
INSERT INTO run VALUES(1,1,1795655105436021,NULL,NULL,NULL,'{"backoff_base_s":0.01,"backoff_cap_s":0.02,"channel":null,"concurrency":2,"connect_timeout_s":1.0,"endpoint":"http://127.0.0.1:8901/api/v1/TwoFactor","fallback":null,"limit":null,"max_attempts":5,"max_duration_s":null,"max_invalid_percent":50.0,"max_outage_s":900.0,"on_server_error":"retry","on_unknown":"retry","rate_per_s":null,"region":"IN","timeout_s":2.0}','0.1.0');
INSERT INTO run VALUES(2,1,1795655106656019,NULL,NULL,NULL,'{"backoff_base_s":0.01,"backoff_cap_s":0.02,"channel":null,"concurrency":2,"connect_timeout_s":1.0,"endpoint":"http://127.0.0.1:8901/api/v1/TwoFactor","fallback":null,"limit":null,"max_attempts":5,"max_duration_s":null,"max_invalid_percent":50.0,"max_outage_s":900.0,"on_server_error":"retry","on_unknown":"hold","rate_per_s":null,"region":"IN","timeout_s":2.0}','0.1.0');
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
INSERT INTO contact VALUES(18,2,'9999900101,******',2,919999900101,NULL,0,13,NULL,NULL,NULL);
INSERT INTO contact VALUES(19,3,'9999900102,******',2,919999900102,NULL,0,14,NULL,NULL,NULL);
INSERT INTO contact VALUES(20,4,'9999900103,******',2,919999900103,NULL,0,17,NULL,'x',NULL);
INSERT INTO contact VALUES(21,5,'9999900104,******',2,919999900104,NULL,0,4,NULL,NULL,NULL);
INSERT INTO contact VALUES(22,6,'9999900105,******',2,919999900105,NULL,0,5,NULL,NULL,NULL);
INSERT INTO contact VALUES(23,7,'9999900106,******',2,919999900106,NULL,0,6,NULL,NULL,NULL);
INSERT INTO contact VALUES(24,8,'9999900107,******',2,919999900107,NULL,0,7,NULL,'701009',NULL);
INSERT INTO contact VALUES(25,9,'9999900108,******',2,919999900108,NULL,0,8,NULL,'801009',NULL);
INSERT INTO contact VALUES(26,10,'9999900109,******',2,919999900109,NULL,0,9,NULL,'901009',NULL);
INSERT INTO contact VALUES(27,11,'9999900110,******',2,919999900110,NULL,0,10,NULL,'011009',NULL);
INSERT INTO contact VALUES(28,12,'9999900111,******',2,919999900111,NULL,0,11,NULL,'111009',NULL);
INSERT INTO contact VALUES(29,13,'9999900112,******',2,919999900112,NULL,0,12,NULL,'211009',NULL);
INSERT INTO contact VALUES(30,14,'9999900101,******',2,919999900101,NULL,0,1,NULL,NULL,NULL);
INSERT INTO contact VALUES(31,15,'9999900102,******',2,919999900102,NULL,0,2,NULL,NULL,NULL);
INSERT INTO contact VALUES(32,16,'9999900050,******',2,919999900050,NULL,0,15,NULL,'050009',NULL);
INSERT INTO contact VALUES(33,17,'9999900101,******',2,919999900101,NULL,0,1,14,NULL,NULL);
INSERT INTO contact VALUES(34,18,'9999900103,******',2,919999900103,NULL,0,17,4,NULL,-6282676117010289595);
CREATE TABLE known (
    number     INTEGER NOT NULL,
    campaign   INTEGER NOT NULL,
    code_print INTEGER NOT NULL,
    job        INTEGER NOT NULL,
    PRIMARY KEY (number, campaign, code_print)
) STRICT, WITHOUT ROWID;
INSERT INTO known VALUES(919999900050,1,-3088735169126564145,15);
INSERT INTO known VALUES(919999900101,1,-4850093033511635895,1);
INSERT INTO known VALUES(919999900101,1,7494775865886298587,13);
INSERT INTO known VALUES(919999900102,1,7515427212358420135,14);
INSERT INTO known VALUES(919999900102,1,7885302454262711065,2);
INSERT INTO known VALUES(919999900103,1,-6282676117010289595,17);
INSERT INTO known VALUES(919999900103,1,-55461040969397987,3);
INSERT INTO known VALUES(919999900104,1,-235856233942642041,4);
INSERT INTO known VALUES(919999900105,1,-5264216422787946371,5);
INSERT INTO known VALUES(919999900106,1,1148516449663255319,6);
INSERT INTO known VALUES(919999900107,1,5168378074787452221,7);
INSERT INTO known VALUES(919999900108,1,3745253912501930203,8);
INSERT INTO known VALUES(919999900109,1,-4897075574700705325,9);
INSERT INTO known VALUES(919999900110,1,-75284257602568185,10);
INSERT INTO known VALUES(919999900111,1,815690087183065161,11);
INSERT INTO known VALUES(919999900112,1,17184350000363507,12);
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
INSERT INTO attempt VALUES(1,1,1,2,1,5,NULL,1795655105463361,1795655105470061,1795655105672070,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(2,1,1,2,1,5,NULL,1795655105463362,1795655105470273,1795655105672096,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(3,1,1,2,1,5,NULL,1795655105672081,1795655105678498,1795655105881491,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(4,1,1,2,1,5,NULL,1795655105672097,1795655105678558,1795655105881518,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(5,1,1,2,1,5,NULL,1795655105881504,1795655105881975,1795655106087773,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(6,1,1,2,1,5,NULL,1795655105881519,1795655105882022,1795655106087808,1,'Your Mobile Number OTP code is verified!',NULL);
INSERT INTO attempt VALUES(7,1,1,2,1,5,NULL,1795655106087787,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt VALUES(8,1,1,2,1,5,NULL,1795655106087809,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt VALUES(9,1,2,2,1,5,NULL,1795655106900869,NULL,NULL,NULL,NULL,NULL);
INSERT INTO attempt VALUES(13,1,2,2,1,5,NULL,1795655106684710,1795655106698499,1795655106900833,2,'Your Mobile Number OTP code verification failed',NULL);
INSERT INTO attempt VALUES(14,1,2,2,1,5,NULL,1795655106684711,1795655106698801,1795655106900868,2,'Your Mobile Number OTP code verification failed',NULL);
INSERT INTO attempt VALUES(17,1,2,2,1,5,NULL,1795655106900848,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX run_campaign ON run (campaign);
CREATE INDEX attempt_retry_at ON attempt (lane, retry_at) WHERE retry_at IS NOT NULL;
COMMIT;
PRAGMA application_id = 0x4f545044;
PRAGMA user_version = 1;
