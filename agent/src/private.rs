//! Values that never leave: each prints only its type, and none can be serialized.

macro_rules! private_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Wraps a value as the PBX wrote it.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(text.into())
            }

            /// The value itself: for the local store and for local display only.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

private_text! {
    /// A telephone of the customer's, such as the `1001` of `PJSIP/1001-0000002a`.
    Extension
}
private_text! {
    /// A line to a provider, by its name in the PBX.
    Trunk
}
private_text! {
    /// A queue, by its name in the PBX.
    Queue
}
private_text! {
    /// A telephone number of somebody outside, as the PBX wrote it.
    OutsideNumber
}
private_text! {
    /// A telephone number of the customer's own, by which callers reach the phone system.
    OwnNumber
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_only_the_type() {
        assert_eq!(
            format!("{:?}", (Extension::new("1001"), Trunk::new("t"), Queue::new("q"))),
            "(Extension, Trunk, Queue)"
        );
        assert_eq!(
            format!("{:?}", (OutsideNumber::new("5551234"), OwnNumber::new("5550000"))),
            "(OutsideNumber, OwnNumber)"
        );
    }
}
