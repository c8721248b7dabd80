// A fiber: a stack of its own, on which a CUDA thread runs until it hands over to another one.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define EMULATOR_UCONTEXT
#endif
#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace steep::cuda::emulator {

class Fiber {
 public:
  /// Stands for the calling thread of the host.
  Fiber();
  /// Runs `main`, which must not return and is the same for all fibers, when it is switched to.
  explicit Fiber(void (*main)());
  Fiber(const Fiber&) = delete;
  ~Fiber();

  /// Goes on with `to`; returns when somebody switches back.
  static void switch_to(Fiber& from, Fiber& to);
  /// Forgets what it was about: it will begin `main` anew. Not for the fiber that runs.
  void reset();
  char* stack_top() const { return top_; }
  /// Tells AddressSanitizer that no function is active on it.
  void forget_frames();
  /// Did a fault there come from a stack that was too small?
  bool overflowed_at(const void* address) const;

 private:
  static constexpr size_t kGuardBytes = 64 << 10;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr size_t kStackBytes = 512 << 10;
#else
  static constexpr size_t kStackBytes = 128 << 10;
#endif

  static void enter();

  char *stack_ = nullptr, *top_ = nullptr;  // its lowest address, and where it begins
#ifdef EMULATOR_UCONTEXT
  ucontext_t context_;
#else
  void* stack_pointer_ = nullptr;  // what the thread was doing lies on its stack
#endif
  // For the sanitizers.
  [[maybe_unused]] const void* bottom_ = nullptr;
  [[maybe_unused]] size_t bottom_bytes_ = 0;
  [[maybe_unused]] void *fake_stack_ = nullptr, *tsan_ = nullptr;
};

}  // namespace steep::cuda::emulator
