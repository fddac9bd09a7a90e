-- FreePBX's own settings, as far as a reader of call records asks for them: which channels are lines to the outside.
CREATE DATABASE asterisk DEFAULT CHARACTER SET utf8mb4;
CREATE TABLE asterisk.trunks (
  trunkid int(11) NOT NULL DEFAULT 0,
  tech varchar(20) NOT NULL,
  channelid varchar(190) NOT NULL,
  name varchar(50) NOT NULL DEFAULT '',
  outcid varchar(40) NOT NULL DEFAULT '',
  keepcid varchar(4) DEFAULT 'off',
  maxchans varchar(6) DEFAULT '',
  failscript varchar(255) NOT NULL DEFAULT '',
  dialoutprefix varchar(255) NOT NULL DEFAULT '',
  usercontext varchar(255) DEFAULT NULL,
  provider varchar(40) DEFAULT NULL,
  disabled varchar(4) DEFAULT 'off',
  `continue` varchar(4) DEFAULT 'off',
  routedisplay varchar(4) DEFAULT 'on',
  PRIMARY KEY (trunkid, tech, channelid)
);
INSERT INTO asterisk.trunks (trunkid, tech, channelid, name) VALUES
  (1, 'pjsip', 'provider1', 'provider1'),
  (2, 'pjsip', 'provider2', 'provider2');

CREATE DATABASE asteriskcdrdb DEFAULT CHARACTER SET utf8mb4;
CREATE TABLE asteriskcdrdb.cdr (
  calldate datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  clid varchar(80) NOT NULL DEFAULT '',
  src varchar(80) NOT NULL DEFAULT '',
  dst varchar(80) NOT NULL DEFAULT '',
  dcontext varchar(80) NOT NULL DEFAULT '',
  channel varchar(80) NOT NULL DEFAULT '',
  dstchannel varchar(80) NOT NULL DEFAULT '',
  lastapp varchar(80) NOT NULL DEFAULT '',
  lastdata varchar(80) NOT NULL DEFAULT '',
  duration int(11) NOT NULL DEFAULT 0,
  billsec int(11) NOT NULL DEFAULT 0,
  disposition varchar(45) NOT NULL DEFAULT '',
  amaflags int(11) NOT NULL DEFAULT 0,
  accountcode varchar(20) NOT NULL DEFAULT '',
  uniqueid varchar(32) NOT NULL DEFAULT '',
  userfield varchar(255) NOT NULL DEFAULT '',
  did varchar(50) NOT NULL DEFAULT '',
  recordingfile varchar(255) NOT NULL DEFAULT '',
  cnum varchar(80) NOT NULL DEFAULT '',
  cnam varchar(80) NOT NULL DEFAULT '',
  outbound_cnum varchar(80) NOT NULL DEFAULT '',
  outbound_cnam varchar(80) NOT NULL DEFAULT '',
  dst_cnam varchar(80) NOT NULL DEFAULT '',
  KEY calldate (calldate),
  KEY dst (dst),
  KEY accountcode (accountcode),
  KEY uniqueid (uniqueid),
  KEY did (did)
);

-- Asterisk writes; whoever only reads gets SELECT and nothing else.
CREATE USER 'asterisk'@'%' IDENTIFIED BY 'writes-call-records';
GRANT INSERT ON asteriskcdrdb.* TO 'asterisk'@'%';
CREATE USER 'demarc'@'%' IDENTIFIED BY 'only-reads';
GRANT SELECT ON asteriskcdrdb.* TO 'demarc'@'%';
GRANT SELECT ON asterisk.* TO 'demarc'@'%';
