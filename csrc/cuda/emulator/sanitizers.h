// What AddressSanitizer and ThreadSanitizer must be told, and nothing where neither is in use.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void __tsan_read_range(void* address, long bytes);  // long: GCC knows these two
void __tsan_write_range(void* address, long bytes);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace steep::cuda::emulator {

#if defined(__SANITIZE_ADDRESS__)
inline void forbid(const void* p, size_t bytes) { __asan_poison_memory_region(p, bytes); }
inline void allow(const void* p, size_t bytes) { __asan_unpoison_memory_region(p, bytes); }
#else
inline void forbid(const void*, size_t) {}
inline void allow(const void*, size_t) {}
#endif

/// The copy engine is two threads to ThreadSanitizer: what fills shared memory, and what reads it.
enum class Engine { loads, stores };

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
/// What happened before a `release` happened before what follows an `acquire` of the same address.
inline void release(void* address) { __tsan_release(address); }
inline void acquire(void* address) { __tsan_acquire(address); }

/// While it lives, what the emulator itself reads and writes is hidden from ThreadSanitizer.
struct Hidden {
  Hidden() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  Hidden(const Hidden&) = delete;
  ~Hidden() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};

template <class F>
void as_engine(Engine engine, F f) {
  static void* const threads[2] = {__tsan_create_fiber(0), __tsan_create_fiber(0)};
  void* const caller = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(threads[int(engine)], 1);
  f();
  __tsan_switch_to_fiber(caller, 1);
}
inline void engine_reads(Engine engine, const void* p, size_t bytes) {
  as_engine(engine, [=] { __tsan_read_range(const_cast<void*>(p), long(bytes)); });
}
inline void engine_writes(Engine engine, void* p, size_t bytes) {
  as_engine(engine, [=] { __tsan_write_range(p, long(bytes)); });
}
inline void engine_release(Engine engine, void* address) {
  as_engine(engine, [=] { release(address); });
}
inline void engine_acquire(Engine engine, void* address) {
  as_engine(engine, [=] { acquire(address); });
}
#else
inline constexpr bool kThreadSanitizer = false;
inline void release(void*) {}
inline void acquire(void*) {}
inline void engine_reads(Engine, const void*, size_t) {}
inline void engine_writes(Engine, void*, size_t) {}
inline void engine_release(Engine, void*) {}
inline void engine_acquire(Engine, void*) {}
struct Hidden {
  Hidden() {}
  Hidden(const Hidden&) = delete;
};
#endif

}  // namespace steep::cuda::emulator
