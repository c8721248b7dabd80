# Defines cuda_room: what csrc/cuda adds to the module.
add_library(cuda_room INTERFACE)
get_filename_component(cuda_folder ${CMAKE_CURRENT_LIST_DIR}/../csrc/cuda ABSOLUTE)
set(cuda_all_targets 75 80 86 89 90a 100 120 80+ptx)
list(JOIN cuda_all_targets " " cuda_all_target_names)

# The architectures of this machine's GPUs, empty without.
function(find_gpus result)
  execute_process(COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capabilities ERROR_QUIET RESULT_VARIABLE status)
  set(found "")
  if(status STREQUAL "0")
    string(REGEX MATCHALL "[0-9]+[.][0-9]+" capabilities "${capabilities}")
    string(REPLACE "." "" found "${capabilities}")
    list(REMOVE_DUPLICATES found)
    list(TRANSFORM found REPLACE "^90$" "90a")
  endif()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

if(STEEP_CUDA STREQUAL "auto")
  set(cuda_build off)
  find_gpus(gpus)
  if(gpus)
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(cuda_build on)
    else()
      message(STATUS "CUDA: there is a GPU but no nvcc; the build has CPU kernels only")
    endif()
  endif()
elseif(STEEP_CUDA MATCHES "^(on|off|emulated)$")
  set(cuda_build ${STEEP_CUDA})
  set(gpus "")
else()
  message(FATAL_ERROR "STEEP_CUDA=${STEEP_CUDA} must be auto, on, off or emulated")
endif()

set(cuda_kernels
    bias_gradient.cu
    binary.cu
    cast.cu
    cross_entropy.cu
    gemm_mma.cu
    gemm_simt.cu
    gemm_wgmma.cu
    gradients.cu
    indexing.cu
    layer_norm.cu
    nonzero.cu
    optimizer.cu
    random.cu
    reduce.cu
    rms_norm.cu
    scan.cu
    softmax.cu
    sort.cu
    unary.cu)
set(cuda_runtime allocator.cpp copy.cpp devices.cpp gemm.cpp graph.cpp runtime.cpp table.cpp tensor_map.cpp)
list(TRANSFORM cuda_kernels PREPEND ${cuda_folder}/)
list(TRANSFORM cuda_runtime PREPEND ${cuda_folder}/)

if(cuda_build STREQUAL "off")
  target_sources(cuda_room INTERFACE ${cuda_folder}/not_built.cpp)
elseif(cuda_build STREQUAL "emulated")
  message(STATUS "CUDA: emulated on the host")
  set(emulator ${cuda_folder}/emulator)
  file(GLOB emulator_sources CONFIGURE_DEPENDS ${emulator}/*.cpp)
  add_library(cuda_emulated OBJECT ${cuda_kernels} ${cuda_runtime} ${emulator_sources})
  set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++;-Wno-unknown-pragmas")
  set_property(SOURCE ${cuda_folder}/random.cu APPEND PROPERTY COMPILE_OPTIONS -ffp-contract=off)
  target_include_directories(cuda_emulated PUBLIC ${emulator})
  target_compile_definitions(cuda_emulated PUBLIC STEEP_CUDA_EMULATED STEEP_ISA_NS=cuda STEEP_CUDA_TARGETS="${cuda_all_target_names}")
  target_link_libraries(cuda_emulated PRIVATE warnings)
  target_sources(cuda_room INTERFACE $<TARGET_OBJECTS:cuda_emulated>)
else()
  set(targets ${STEEP_CUDA_TARGETS})
  if(NOT targets)
    set(targets ${gpus})
  endif()
  if(NOT targets)
    set(targets ${cuda_all_targets})
  endif()
  list(JOIN targets " " target_names)
  message(STATUS "CUDA: for ${target_names}")
  set(CMAKE_CUDA_ARCHITECTURES "")
  foreach(target ${targets})
    if(target MATCHES "^([0-9]+a?)[+]ptx$")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${CMAKE_MATCH_1}-virtual)
    elseif(target MATCHES "^[0-9]+a?$")
      list(APPEND CMAKE_CUDA_ARCHITECTURES ${target}-real)
    else()
      message(FATAL_ERROR "STEEP_CUDA_TARGETS: '${target}' is not an architecture; write 90a, or 80+ptx for PTX")
    endif()
  endforeach()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  # Objects of kernels only: the module is linked by the C++ compiler, with the static runtime and no driver library.
  add_library(cuda_kernels OBJECT ${cuda_kernels})
  target_compile_definitions(cuda_kernels PRIVATE STEEP_ISA_NS=cuda)
  target_compile_options(cuda_kernels PRIVATE --expt-relaxed-constexpr)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    target_compile_options(cuda_kernels PRIVATE -compress-mode=size)
  endif()
  set_source_files_properties(${cuda_folder}/random.cu PROPERTIES COMPILE_OPTIONS -fmad=false)
  add_library(cuda_runtime OBJECT ${cuda_runtime})
  target_compile_definitions(cuda_runtime PRIVATE STEEP_CUDA_TARGETS="${target_names}")
  target_link_libraries(cuda_runtime PRIVATE CUDA::cudart_static warnings)
  target_sources(cuda_room INTERFACE $<TARGET_OBJECTS:cuda_kernels> $<TARGET_OBJECTS:cuda_runtime>)
  target_link_libraries(cuda_room INTERFACE CUDA::cudart_static)
endif()
