//! Has the kernel refuse system calls to a child process (seccomp(2)), as container runtimes and service
//! managers do.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// A system call, or those uses of it that have a certain argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) number: i64,
    /// The index of an argument, from 0 on, and the value that it must have.
    pub(crate) argument: Option<(u8, u64)>,
}

impl Call {
    pub(crate) const fn all(name: &'static str, number: i64) -> Self {
        Self { name, number, argument: None }
    }

    pub(crate) const fn with(name: &'static str, number: i64, index: u8, value: u64) -> Self {
        Self { name, number, argument: Some((index, value)) }
    }
}

/// What a kernel or a filter answers.
pub(crate) const REFUSALS: [(&str, i32); 3] =
    [("EPERM", libc::EPERM), ("ENOSYS", libc::ENOSYS), ("EINVAL", libc::EINVAL)];

/// Has the call refused to this thread, and to those that it starts, from now on and for good.
pub(crate) fn refuse(call: Call, errno: i32) {
    let rule = call.argument.map(|(index, value)| {
        let (len, same) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
        let condition = SeccompCondition::new(index, len, same, value).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    });
    let rules = BTreeMap::from([(call.number, Vec::from_iter(rule))]);
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, architecture).unwrap();
    apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}
