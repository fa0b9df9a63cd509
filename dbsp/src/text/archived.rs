//! As DBSP's own files have it, and in other formats: as a string.
#![expect(unsafe_code, reason = "the trait's method is declared so")]

use std::cmp::Ordering;

use dbsp::dynamic::OrdRepr;
use rkyv::{
    Archive, Deserialize, Fallible, Serialize, SerializeUnsized,
    string::{ArchivedString, StringResolver},
};

use super::Text;

impl Archive for Text {
    type Archived = ArchivedString;
    type Resolver = StringResolver;

    unsafe fn resolve(&self, pos: usize, resolver: StringResolver, out: *mut ArchivedString) {
        // SAFETY: the caller's promise is that of this function too.
        unsafe { ArchivedString::resolve_from_str(self.as_str(), pos, resolver, out) };
    }
}

impl<S: Fallible + ?Sized> Serialize<S> for Text
where
    str: SerializeUnsized<S>,
{
    fn serialize(&self, serializer: &mut S) -> Result<StringResolver, S::Error> {
        ArchivedString::serialize_from_str(self.as_str(), serializer)
    }
}

impl<D: Fallible + ?Sized> Deserialize<Text, D> for ArchivedString {
    fn deserialize(&self, _deserializer: &mut D) -> Result<Text, D::Error> {
        Ok(Text::from(self.as_str()))
    }
}

impl OrdRepr<Text> for ArchivedString {
    #[inline]
    fn ord_cmp(&self, other: &Text) -> Ordering {
        self.as_bytes().cmp(other.as_str().as_bytes())
    }
}

impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer).map(Self::from)
    }
}
