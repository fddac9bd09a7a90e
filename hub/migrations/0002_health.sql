-- How the machine of a site was: of each hour the newest report, exactly as received.
CREATE TABLE health (
    site text NOT NULL REFERENCES site (name),
    -- Hours since 1970 in UTC, by the hub's clock.
    hour bigint NOT NULL,
    received bigint NOT NULL,
    payload text NOT NULL,
    PRIMARY KEY (site, hour)
);
