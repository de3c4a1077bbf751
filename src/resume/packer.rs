//! What makes one client's compressed body of the blocks that all share.

#[cfg(feature = "gzip")]
pub(super) use self::gzip::Packer;
#[cfg(not(feature = "gzip"))]
pub(super) use self::none::Packer;

#[cfg(feature = "gzip")]
mod gzip {
    use bytes::Bytes;

    use crate::log::Chunk;
    use crate::observe::{Observer, Signal};
    use crate::resume::settings::Coding;
    use crate::wire::gzip::{Member, pack};

    /// See the [module](super).
    pub(in crate::resume) struct Packer {
        /// `None` once it is at its end.
        member: Option<Member>,
    }

    impl Packer {
        pub(in crate::resume) fn new(coding: Coding) -> Self {
            let member = match coding {
                Coding::Gzip => Some(Member::default()),
            };
            Self { member }
        }

        /// What nobody else is sent.
        pub(in crate::resume) fn own(&mut self, plain: &[u8]) -> Bytes {
            let member = self.member.as_mut();
            member.map(|member| member.own(plain)).unwrap_or_default()
        }

        /// Blocks, after something that nobody else is sent.
        pub(in crate::resume) fn blocks(
            &mut self,
            own: &[u8],
            chunk: &Chunk,
            observer: &dyn Observer,
        ) -> Bytes {
            let make = || {
                let packed = pack(&chunk.bytes);
                observer.observe(Signal::Compressed {
                    from: chunk.bytes.len() as u64,
                    to: packed.len() as u64,
                });
                packed
            };
            let packed = match &chunk.form {
                Some(form) => form.get(make),
                None => &make(),
            };
            let member = self.member.as_mut();
            let shared = member.map(|member| member.shared(own, &chunk.bytes, packed));
            shared.unwrap_or_default()
        }

        /// What says that nothing is missing: said once.
        pub(in crate::resume) fn end(&mut self) -> Option<Bytes> {
            self.member.take().map(Member::end)
        }

        pub(in crate::resume) fn has_ended(&self) -> bool {
            self.member.is_none()
        }
    }
}

/// There is no coding, so there is none of these.
#[cfg(not(feature = "gzip"))]
mod none {
    use bytes::Bytes;

    use crate::log::Chunk;
    use crate::observe::Observer;
    use crate::resume::settings::Coding;

    pub(in crate::resume) enum Packer {}

    impl Packer {
        pub(in crate::resume) fn new(coding: Coding) -> Self {
            match coding {}
        }

        pub(in crate::resume) fn own(&mut self, _: &[u8]) -> Bytes {
            match *self {}
        }

        pub(in crate::resume) fn blocks(&mut self, _: &[u8], _: &Chunk, _: &dyn Observer) -> Bytes {
            match *self {}
        }

        pub(in crate::resume) fn end(&mut self) -> Option<Bytes> {
            match *self {}
        }

        pub(in crate::resume) fn has_ended(&self) -> bool {
            match *self {}
        }
    }
}
