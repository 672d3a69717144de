module ccm-rs/tests/node/pause

go 1.26.0
