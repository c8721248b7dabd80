#include "fiber.h"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "sanitizers.h"

// void steep_emulator_switch(void** save, void* load): pushes the registers that a function must preserve, stores the
// stack pointer to *save, and does the reverse with `load`.
#ifdef EMULATOR_UCONTEXT
#elif defined(__x86_64__)
extern "C" void steep_emulator_switch(void** save, void* load);
asm(R"(
.text
.hidden steep_emulator_switch
.globl steep_emulator_switch
.type steep_emulator_switch, @function
steep_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size steep_emulator_switch, .-steep_emulator_switch
)");
#elif defined(__aarch64__)
extern "C" void steep_emulator_switch(void** save, void* load);
asm(R"(
.text
.hidden steep_emulator_switch
.globl steep_emulator_switch
.type steep_emulator_switch, %function
steep_emulator_switch:
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size steep_emulator_switch, .-steep_emulator_switch
)");
#endif

namespace steep::cuda::emulator {
namespace {

void (*main_of_all)() = nullptr;

#ifdef __SANITIZE_ADDRESS__
struct Stack {
  void* bottom;
  size_t bytes;
};

Stack stack_of_this_thread() {
  Stack stack;
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &stack.bottom, &stack.bytes);
  pthread_attr_destroy(&attributes);
  return stack;
}
#endif

}  // namespace

Fiber::Fiber() {
#ifdef __SANITIZE_ADDRESS__
  thread_local const Stack stack = stack_of_this_thread();
  bottom_ = stack.bottom, bottom_bytes_ = stack.bytes;
#endif
#ifdef __SANITIZE_THREAD__
  tsan_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(void (*main)()) {
  main_of_all = main;
  void* p = mmap(nullptr, kGuardBytes + kStackBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(p) + kGuardBytes;
  mprotect(stack_, kStackBytes, PROT_READ | PROT_WRITE);
  // At different offsets in their pages, or all would want the same lines of the cache.
  static int count = 0;
  top_ = stack_ + kStackBytes - count++ % 61 * 64;
  bottom_ = stack_;
  bottom_bytes_ = kStackBytes;
  reset();
}

Fiber::~Fiber() {
  if (!stack_) return;
  allow(stack_, kStackBytes);
  munmap(stack_ - kGuardBytes, kGuardBytes + kStackBytes);
}

__attribute__((no_sanitize("address", "thread"))) void Fiber::enter() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  main_of_all();
}

void Fiber::forget_frames() { allow(stack_, kStackBytes); }

void Fiber::reset() {
  forget_frames();
  fake_stack_ = nullptr;
#ifdef __SANITIZE_THREAD__
  if (tsan_) {  // What it did comes before what the caller does now. It isn't destroyed, being inside some function.
    void* const caller = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_, 1);
    release(this);
    __tsan_switch_to_fiber(caller, 1);
    acquire(this);
  }
  tsan_ = __tsan_create_fiber(0);
#endif
#if defined(EMULATOR_UCONTEXT)
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  makecontext(&context_, enter, 0);
#elif defined(__x86_64__)
  // As if main had been called: a return address (none) lies at the top of the stack, and below what the switch pops.
  void** top = reinterpret_cast<void**>(stack_top());
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  stack_pointer_ = top;
#elif defined(__aarch64__)
  void** top = reinterpret_cast<void**>(stack_top()) - 20;
  for (int i = 0; i < 20; ++i) top[i] = nullptr;
  top[11] = reinterpret_cast<void*>(&enter);  // x30
  stack_pointer_ = top;
#endif
}

bool Fiber::overflowed_at(const void* address) const {
  const char* p = static_cast<const char*>(address);
  return p >= stack_ - kGuardBytes && p < stack_;
}

__attribute__((no_sanitize("address", "thread"))) void Fiber::switch_to(Fiber& from, Fiber& to) {
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(to.tsan_, 1);  // 1: handing over orders no memory accesses; barriers do
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.bottom_bytes_);
#endif
#ifdef EMULATOR_UCONTEXT
  swapcontext(&from.context_, &to.context_);
#else
  steep_emulator_switch(&from.stack_pointer_, to.stack_pointer_);
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace steep::cuda::emulator
