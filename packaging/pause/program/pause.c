/*
 * pause holds the namespaces of a task and does nothing else: the whole program of the
 * pause image (docs/spec/05 section 3.2). As process 1 of a PID namespace it reaps
 * whatever ends there. SIGTERM and SIGINT end it, with code 0.
 *
 * It needs no C library and allocates nothing. The signals stay blocked and are waited
 * for, so that none is lost between two looks, and so that they reach process 1, which
 * the kernel spares signals that have no handler.
 */

#define EINTR_ 4
#define SIGINT_ 2
#define SIGTERM_ 15
#define SIGCHLD_ 17
#define BIT(n) (1UL << ((n)-1))
#define SIG_BLOCK_ 0
#define WNOHANG_ 1

#if defined(__x86_64__)
enum { SYS_rt_sigprocmask = 14, SYS_wait4 = 61, SYS_rt_sigtimedwait = 128, SYS_exit_group = 231 };

static long call4(long n, long a, long b, long c, long d)
{
	long r;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
enum { SYS_exit_group = 94, SYS_rt_sigprocmask = 135, SYS_rt_sigtimedwait = 137, SYS_wait4 = 260 };

static long call4(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#else
#error "pause knows the system calls of x86-64 and arm64"
#endif

static __attribute__((noreturn)) void end(int code)
{
	for (;;)
		call4(SYS_exit_group, code, 0, 0, 0);
}

__attribute__((noreturn)) void _start(void)
{
	unsigned long set = BIT(SIGINT_) | BIT(SIGTERM_) | BIT(SIGCHLD_);

	if (call4(SYS_rt_sigprocmask, SIG_BLOCK_, (long)&set, 0, sizeof set) != 0)
		end(1);
	for (;;) {
		long signal = call4(SYS_rt_sigtimedwait, (long)&set, 0, 0, sizeof set);
		if (signal == SIGTERM_ || signal == SIGINT_)
			end(0);
		if (signal != SIGCHLD_ && signal != -EINTR_) /* EINTR: stopped and continued */
			end(42);
		while (call4(SYS_wait4, -1, 0, WNOHANG_, 0) > 0)
			;
	}
}
