//! Counters with a name each, of what is refused or fails.

/// Makes an enumeration of counters of a list of them, each with the name under which it is shown.
macro_rules! counters {
    (
        $(#[doc = $about:literal])+
        pub enum Counter { $( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl Counter {
            /// All of them with their names, ordered by their index.
            pub const ALL: &'static [(Self, &'static str)] = &[ $( (Self::$variant, $name), )+ ];
        }
    };
}
pub(crate) use counters;
