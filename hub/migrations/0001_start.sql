-- The same text runs on SQLite and on PostgreSQL: text and bigint columns only. Times are seconds since 1970 in UTC.

CREATE TABLE node (
    name text PRIMARY KEY NOT NULL,
    -- When this hub process last said that it lives: a tunnel counts as connected only while its node beats.
    beat bigint NOT NULL
);

CREATE TABLE site (
    name text PRIMARY KEY NOT NULL,
    created bigint NOT NULL,
    -- SHA-256 of the site's public key, in hexadecimal. A certificate with another key is refused: that is how
    -- enrolling again shuts out the key before.
    key_sha256 text,
    enrolled bigint,
    certificate_ends bigint,
    version text,
    node text,
    connected_since bigint,
    last_seen bigint
);

CREATE TABLE token (
    -- Only the hash of the secret is kept: who reads this table cannot enroll.
    secret_sha256 text PRIMARY KEY NOT NULL,
    site text NOT NULL REFERENCES site (name),
    created bigint NOT NULL,
    expires bigint NOT NULL,
    used bigint
);

CREATE TABLE certificate (
    serial text PRIMARY KEY NOT NULL,
    site text NOT NULL REFERENCES site (name),
    key_sha256 text NOT NULL,
    issued bigint NOT NULL,
    ends bigint NOT NULL
);

CREATE TABLE report (
    site text NOT NULL REFERENCES site (name),
    id text NOT NULL,
    window_start bigint NOT NULL,
    window_seconds bigint NOT NULL,
    received bigint NOT NULL,
    sha256 text NOT NULL,
    -- Exactly as received, padding and all.
    body text NOT NULL,
    PRIMARY KEY (site, id)
);

CREATE INDEX report_by_window ON report (site, window_start);
