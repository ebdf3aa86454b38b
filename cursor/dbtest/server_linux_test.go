package dbtest

import "syscall"

// tied makes a process end with this one, however this one ends.
func tied(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
