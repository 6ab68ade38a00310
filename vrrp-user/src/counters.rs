//! Counters with a name each, of what is refused or fails.

/// Makes an enumeration of counters of a list of them, each with the name under which it is shown.
macro_rules! counters {
    (
        $(#[doc = $about:literal])+
        pub enum $counter:ident { $( $(#[doc = $doc:literal])+ $variant:ident = $name:literal, )+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $counter {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl $counter {
            /// All of them with their names, ordered by their index.
            pub const ALL: &'static [(Self, &'static str)] = &[ $( (Self::$variant, $name), )+ ];
        }
    };
}
pub(crate) use counters;
