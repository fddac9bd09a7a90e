# What a contributor types. Everything needs only Rust, a C compiler and make.
.PHONY: build package package-try demo test bench soak screenshots lint man docs

# The end-to-end tests mostly wait for windows to close, so many of them run side by side.
export RUST_TEST_THREADS ?= 8

build:
	cargo build --release -p demarc -p demarc-hub

package:
	./deploy/package/build --check

# What `make package` made, on machines of both kinds: an emulated one for arm64. A quarter of an hour, as root, and so no part of `make test`.
package-try:
	./deploy/package/try --here
	./deploy/package/try

demo:
	./deploy/demo/run

test:
	./deploy/lab/asterisk fetch
	DEMARC_LAB_SUITE=bullseye ./deploy/lab/asterisk fetch
	./deploy/lab/tools fetch
	./deploy/lab/postgres fetch
	./deploy/lab/openssh fetch
	./deploy/lab/repository fetch
	./deploy/lab/chromium driver
	./deploy/lab/axe fetch
	./deploy/lab/debian fetch
	./deploy/lab/kernel fetch
	./deploy/lab/reviewers fetch
	./deploy/lab/packers fetch
	cargo test --workspace

bench:
	./deploy/bench/run

# A support session of two hours, sat through: keys exchanged anew, everything recorded, the end by the grant's clock.
soak:
	./deploy/lab/openssh fetch
	cargo build --workspace --bins --test it
	$${CARGO_TARGET_DIR:-target}/debug/long_session

screenshots:
	./deploy/screenshots/run

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Manual pages and completions of both programs, into target/man.
man:
	cargo build --workspace
	mkdir -p target/man
	./target/debug/demarc man target/man
	./target/debug/demarc-hub man target/man
	cp deploy/man/*.5 target/man/

# The references of both programs' settings and the examples of their files, from the types. Tests fail where they have drifted apart.
docs:
	UPDATE_EXPECT=1 cargo test --workspace --lib reference::
