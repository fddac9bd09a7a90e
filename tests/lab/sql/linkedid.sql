-- What FreePBX adds to its table of call records since version 14.
ALTER TABLE asteriskcdrdb.cdr
  ADD COLUMN linkedid varchar(32) NOT NULL DEFAULT '',
  ADD COLUMN peeraccount varchar(80) NOT NULL DEFAULT '',
  ADD COLUMN sequence int(11) NOT NULL DEFAULT 0,
  ADD KEY recordingfile (recordingfile(191));
