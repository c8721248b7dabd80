#include "fault.h"

#include <pthread.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdio>

#include "cluster.h"
#include "memory.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
struct sigaction before[4];
pthread_t executing;
int executing_on;
alignas(16) char handler_stack[64 << 10];

// What the handler saw, for the function that goes on in place of the kernel.
cudaError_t error;
char text[160];

[[noreturn]] __attribute__((no_sanitize("address", "thread"))) void end_kernel() {
  cluster().running()->forget_frames();
  cluster().fail(error, text);
}

/// Makes the interrupted fiber go on with end_kernel, at the top of its stack: the old one may be full.
bool redirect(void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  char* const top = cluster().running()->stack_top();
#if defined(__x86_64__)
  machine.gregs[REG_RSP] = reinterpret_cast<greg_t>(top) - 8;  // as if called
  machine.gregs[REG_RIP] = reinterpret_cast<greg_t>(&end_kernel);
  return true;
#elif defined(__aarch64__)
  machine.sp = reinterpret_cast<uintptr_t>(top);
  machine.pc = reinterpret_cast<uintptr_t>(&end_kernel);
  return true;
#else
  (void)machine, (void)top;
  return false;
#endif
}

void on_fault(int signal, siginfo_t* info, void* context) {
  const Hidden hidden;  // a bulk copy that lands may be the first to touch a page
  const bool in_kernel = pthread_equal(pthread_self(), executing) && cluster().running();
  if (in_kernel) {
    const void* const address = info->si_addr;
    if (signal == SIGSEGV && device_memory().open(address, executing_on)) return;
    if (signal == SIGFPE) {
      error = cudaErrorLaunchFailure;
      std::snprintf(text, sizeof text, "integer division by zero");
    } else if (signal == SIGILL) {
      error = cudaErrorIllegalInstruction;
      std::snprintf(text, sizeof text, "illegal instruction");
    } else if (cluster().running()->overflowed_at(address)) {
      error = cudaErrorHardwareStackError;
      std::snprintf(text, sizeof text, "stack overflow");
    } else if (info->si_code == SI_KERNEL) {  // x86 has the same exception for both
      error = cudaErrorMisalignedAddress;
      std::snprintf(text, sizeof text, "misaligned or impossible address");
    } else if (cluster().owner(address)) {
      error = cudaErrorIllegalAddress;
      std::snprintf(text, sizeof text, "shared memory of a block of the cluster that has not begun or has ended");
    } else {
      error = cudaErrorIllegalAddress;
      device_memory().describe(address, text, sizeof text);
    }
    if (redirect(context)) return;
  }
  // Not a kernel's: the instruction faults again, and the handler that was there before gets it.
  for (int i = 0; i < 4; ++i)
    if (kSignals[i] == signal) sigaction(signal, &before[i], nullptr);
}

}  // namespace

CatchFaults::CatchFaults() {
  executing = pthread_self();
  const stack_t stack{handler_stack, 0, sizeof handler_stack};
  sigaltstack(&stack, &stack_before_);
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 4; ++i) sigaction(kSignals[i], &action, &before[i]);
}

void CatchFaults::set_device(int device) {
  if (executing_on != device) device_memory().close_all();
  executing_on = device;
}

CatchFaults::~CatchFaults() {
  for (int i = 0; i < 4; ++i) sigaction(kSignals[i], &before[i], nullptr);
  sigaltstack(&stack_before_, nullptr);
}

}  // namespace steep::cuda::emulator
