BEGIN TRANSACTION;
CREATE TABLE c_folder (id TEXT NOT NULL PRIMARY KEY, space TEXT NOT NULL, sequence INTEGER NOT NULL, alive INTEGER NOT NULL DEFAULT 0, alive__h INTEGER NOT NULL DEFAULT 0, alive__n INTEGER NOT NULL DEFAULT 0, "name" TEXT, "name__h" INTEGER NOT NULL DEFAULT 0, "name__n" INTEGER NOT NULL DEFAULT 0, "parent" TEXT, "parent__h" INTEGER NOT NULL DEFAULT 0, "parent__n" INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO "c_folder" VALUES('f1','north',8,1,351980748840962,2,'a',351980748840962,2,NULL,0,0);
INSERT INTO "c_folder" VALUES('f2','north',11,0,351980748840964,2,NULL,0,0,'f1',351980748840962,2);
CREATE TABLE c_note (id TEXT NOT NULL PRIMARY KEY, space TEXT NOT NULL, sequence INTEGER NOT NULL, alive INTEGER NOT NULL DEFAULT 0, alive__h INTEGER NOT NULL DEFAULT 0, alive__n INTEGER NOT NULL DEFAULT 0, "folder" TEXT, "folder__h" INTEGER NOT NULL DEFAULT 0, "folder__n" INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
INSERT INTO "c_note" VALUES('n1','north',12,0,351980748840967,1,'f2',351980748840963,2);
CREATE TABLE c_place (id TEXT NOT NULL PRIMARY KEY, space TEXT NOT NULL, sequence INTEGER NOT NULL, alive INTEGER NOT NULL DEFAULT 0, alive__h INTEGER NOT NULL DEFAULT 0, alive__n INTEGER NOT NULL DEFAULT 0, "name" TEXT, "name__h" INTEGER NOT NULL DEFAULT 0, "name__n" INTEGER NOT NULL DEFAULT 0, "length" REAL, "length__h" INTEGER NOT NULL DEFAULT 0, "length__n" INTEGER NOT NULL DEFAULT 0, "lit" INTEGER, "lit__h" INTEGER NOT NULL DEFAULT 0, "lit__n" INTEGER NOT NULL DEFAULT 0, "position" TEXT, "position__h" INTEGER NOT NULL DEFAULT 0, "position__n" INTEGER NOT NULL DEFAULT 0, "found_by" TEXT, "found_by__h" INTEGER NOT NULL DEFAULT 0, "found_by__n" INTEGER NOT NULL DEFAULT 0, "best" INTEGER, "status" INTEGER NOT NULL DEFAULT 0, "status__e" INTEGER NOT NULL DEFAULT -1, "tags" TEXT, "starred" TEXT, "remarks" TEXT, "labels" TEXT, "visits" INTEGER NOT NULL DEFAULT 0, "visits__e" INTEGER NOT NULL DEFAULT -1, "stock" TEXT) STRICT, WITHOUT ROWID;
INSERT INTO "c_place" VALUES('p1','north',13,1,351980748800000,2,'Fugløy',351980748840960,3,3.00000000000000044408e-01,351980748800002,2,1,351980748800000,2,'{"lat":60.125,"lon":-2.0}',351980748800000,2,'ann',351980748800001,2,7,1,0,'[["grass",2,1,0],["wet 🌧",2,1,0]]','[[2,1,0]]','[[2,1,0,351980748800000,"short"]]','[["rwy",351980748800000,2,0,6]]',7,0,'[[2,5,0,0,0],[3,0,2,2,0]]');
INSERT INTO "c_place" VALUES('p2','north',7,0,351980748840961,2,'gone',351980748840960,2,NULL,0,0,NULL,0,0,NULL,0,0,NULL,0,0,NULL,0,-1,NULL,NULL,NULL,NULL,0,-1,NULL);
CREATE TABLE sk_conflict (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL,
    collection TEXT NOT NULL, row TEXT NOT NULL, space TEXT NOT NULL, field TEXT NOT NULL,
    winner TEXT NOT NULL, loser TEXT NOT NULL, at_ms INTEGER NOT NULL
) STRICT;
INSERT INTO "sk_conflict" VALUES(1,5,'place','p1','north','name','["Fugløy",351980748840960,3]','["Foula (UK)",351980748800002,2]',1790000000010);
CREATE TABLE sk_device (
    n INTEGER NOT NULL PRIMARY KEY, person TEXT NOT NULL, installation TEXT NOT NULL,
    counter INTEGER NOT NULL, effective INTEGER NOT NULL, acknowledged INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL, UNIQUE (person, installation)
) STRICT;
INSERT INTO "sk_device" VALUES(2,'ann','ann-phone',10,351980748840967,0,1790000000010);
INSERT INTO "sk_device" VALUES(3,'bob','bob-phone',1,351980748840960,0,1790000000010);
CREATE TABLE sk_digest (
    space TEXT NOT NULL, collection TEXT NOT NULL, bucket INTEGER NOT NULL,
    digest BLOB NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (space, collection, bucket)
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_digest" VALUES('north','folder',4,X'8C20D497A4E3E8F59563BEC87EBE9D10',1);
INSERT INTO "sk_digest" VALUES('north','folder',14,X'00000000000000000000000000000000',0);
INSERT INTO "sk_digest" VALUES('north','note',12,X'00000000000000000000000000000000',0);
INSERT INTO "sk_digest" VALUES('north','place',3,X'9848F44F7CF9791DFFD769CFCFBA4795',1);
INSERT INTO "sk_digest" VALUES('north','place',9,X'00000000000000000000000000000000',0);
CREATE TABLE sk_member (
    person TEXT NOT NULL, space TEXT NOT NULL, kind TEXT NOT NULL, role TEXT,
    sequence INTEGER NOT NULL, PRIMARY KEY (person, space)
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_member" VALUES('ann','north','team','member',1);
INSERT INTO "sk_member" VALUES('bob','north','team','member',2);
CREATE TABLE sk_merged_run (
    n INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
    sequence INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (n, last)
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_merged_run" VALUES(2,1,1,3,X'639B0B866889F75A');
INSERT INTO "sk_merged_run" VALUES(2,2,2,4,X'4842BC2E11BD3E46');
INSERT INTO "sk_merged_run" VALUES(2,3,3,6,X'ED2F89CC3099E143');
INSERT INTO "sk_merged_run" VALUES(2,4,4,7,X'8DB9388C5DC04582');
INSERT INTO "sk_merged_run" VALUES(2,5,5,9,X'1F5F990A6810186E');
INSERT INTO "sk_merged_run" VALUES(2,6,6,10,X'F596C1A92673B8AE');
INSERT INTO "sk_merged_run" VALUES(2,7,7,12,X'111EF02478459B64');
INSERT INTO "sk_merged_run" VALUES(2,10,10,13,X'B97C876B7FCE4540');
INSERT INTO "sk_merged_run" VALUES(3,1,1,5,X'98641C32B6CFCA7F');
CREATE TABLE sk_meta (
    key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_meta" VALUES('clock','351980748840969');
INSERT INTO "sk_meta" VALUES('database','"database-1"');
INSERT INTO "sk_meta" VALUES('format','1');
INSERT INTO "sk_meta" VALUES('horizon','0');
INSERT INTO "sk_meta" VALUES('schema','{"app": "prior", "version": 1, "collections": {"folder": {"space": "team", "edit_wins": false, "fields": {"name": {"kind": "lww", "scalar": "text", "nullable": true, "bytes_max": 65536}, "parent": {"kind": "tree_parent"}}}, "note": {"space": "team", "edit_wins": false, "fields": {"folder": {"kind": "lww", "scalar": "text", "nullable": true, "bytes_max": 65536}}}, "place": {"space": "team", "edit_wins": false, "fields": {"best": {"kind": "max", "scalar": "integer", "nullable": false, "low": 0, "high": 1000}, "found_by": {"kind": "first_write", "scalar": "text", "nullable": false, "bytes_max": 65536}, "labels": {"kind": "map", "scalar": "integer", "nullable": false, "entries_max": 1000}, "length": {"kind": "lww", "scalar": "number", "nullable": false}, "lit": {"kind": "lww", "scalar": "flag", "nullable": false}, "name": {"kind": "lww", "scalar": "text", "nullable": true, "bytes_max": 65536}, "position": {"kind": "group", "members": {"lat": {"scalar": "number", "nullable": false}, "lon": {"scalar": "number", "nullable": false}}}, "remarks": {"kind": "multi_value", "scalar": "text", "nullable": false, "bytes_max": 65536, "entries_max": 1000}, "starred": {"kind": "flag", "entries_max": 1000}, "status": {"kind": "ranked", "labels": ["draft", "sent"]}, "stock": {"kind": "bounded_counter", "lease_ms": 604800000}, "tags": {"kind": "add_wins", "scalar": "text", "entries_max": 1000}, "visits": {"kind": "counter"}}}}}');
INSERT INTO "sk_meta" VALUES('sequence','13');
CREATE TABLE sk_primary_change (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sequence INTEGER NOT NULL,
    collection TEXT NOT NULL, row TEXT NOT NULL, reason TEXT NOT NULL,
    cause_n INTEGER NOT NULL, cause_counter INTEGER NOT NULL, at_ms INTEGER NOT NULL
) STRICT
;
INSERT INTO "sk_primary_change" VALUES(1,12,'note','n1','derived',2,7,1790000000010);
CREATE TABLE sk_quarantine (
    n INTEGER NOT NULL, counter INTEGER NOT NULL, payload BLOB NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (n, counter)
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_quarantine" VALUES(2,9,X'','out-of-range');
CREATE TABLE sk_receipt (
    n INTEGER NOT NULL, counter INTEGER NOT NULL, outcome TEXT NOT NULL,
    sequence INTEGER NOT NULL, h INTEGER NOT NULL, hash BLOB NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (n, counter)
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_receipt" VALUES(2,8,'rejected',12,351980748840965,X'4BB66B01452DE208','{"code": "not-unique", "message": "Another row has these values already.", "fields": ["name"], "conflicts": []}');
INSERT INTO "sk_receipt" VALUES(2,9,'quarantined',12,0,X'B2DA279941E0C641','{"code": "out-of-range", "message": "the integer is not within [0, 1000]", "fields": ["best"], "conflicts": []}');
CREATE TABLE sk_space (
    space TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, sequence INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO "sk_space" VALUES('north','team',13);
CREATE INDEX sk_member__changed ON sk_member (person, sequence);
CREATE INDEX sk_member__space ON sk_member (space);
CREATE INDEX sk_member__sequence ON sk_member (sequence);
CREATE INDEX sk_space__sequence ON sk_space (sequence);
CREATE INDEX sk_conflict__space ON sk_conflict (space, id);
CREATE INDEX c_place__feed ON c_place (space, sequence);
CREATE INDEX c_place__dead ON c_place (sequence) WHERE alive = 0;
CREATE INDEX c_folder__feed ON c_folder (space, sequence);
CREATE INDEX c_folder__dead ON c_folder (sequence) WHERE alive = 0;
CREATE UNIQUE INDEX c_folder__unique_name ON c_folder (space, "name") WHERE alive = 1 AND "name__h" > 0;
CREATE INDEX c_note__feed ON c_note (space, sequence);
CREATE INDEX c_note__dead ON c_note (sequence) WHERE alive = 0;
CREATE INDEX c_note__reference_folder ON c_note ("folder") WHERE alive = 1;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('sk_conflict',1);
INSERT INTO "sqlite_sequence" VALUES('sk_primary_change',1);
COMMIT;
