# tessera_room(<name> [USES rooms...] [PRIVATE libraries...]): one folder, one static library tessera::<name>.
# Headers below the folder are public and installed, except those named in the folder's file private_headers.txt, if there is one.
function(tessera_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra $<$<BOOL:${TESSERA_WERROR}>:-Werror>)
  # GCC 12 warns falsely inside its own headers: strings (restrict) and AVX-512 intrinsics (maybe-uninitialized).
  target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict;-Wno-maybe-uninitialized>)
endfunction()

function(tessera_room name)
  cmake_parse_arguments(A "" "" "USES;PRIVATE" ${ARGN})
  set(target tessera_${name})
  set(folder ${PROJECT_SOURCE_DIR}/tessera/${name})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${folder}/*.h)
  if(EXISTS ${folder}/private_headers.txt)
    file(STRINGS ${folder}/private_headers.txt private)
    foreach(header IN LISTS private)
      list(REMOVE_ITEM headers ${folder}/${header})
    endforeach()
  endif()
  if(NOT sources)
    file(WRITE ${PROJECT_BINARY_DIR}/empty_${name}.cpp "")
    set(sources ${PROJECT_BINARY_DIR}/empty_${name}.cpp)
  endif()
  add_library(${target} STATIC ${sources})
  add_library(tessera::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  target_compile_features(${target} PUBLIC cxx_std_20)
  tessera_warnings(${target})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${headers})
  foreach(room IN LISTS A_USES)
    target_link_libraries(${target} PUBLIC tessera::${room})
  endforeach()
  target_link_libraries(${target} PRIVATE ${A_PRIVATE})
  install(TARGETS ${target} EXPORT tesseraTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endfunction()

# Highway compiles each kernel source once per target, inside target regions: no -m flag reaches a file that uses the standard library.
# The baseline is the scalar target on every compiler and processor (its 128-bit emulation is broken in GCC 12.2). Targets are named by what is
# wanted, so that a newer Highway does not bring targets that no table knows.
function(tessera_kernel_settings target)
  target_compile_definitions(${target} PRIVATE HWY_BROKEN_EMU128=1)
  # No FMA contraction that the source did not ask for: rows must agree.
  target_compile_options(${target} PRIVATE -ffp-contract=off)
  # Unrolled tiles: with a check at every access Clang's sanitizers compile for over eight minutes, without them for one. The tests of these
  # kernels stand guard values around what may be written. ThreadSanitizer needs to see all code, or takes the making of a table for a race.
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=" AND NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread")
    set_source_files_properties(${PROJECT_SOURCE_DIR}/tessera/kernels/depthwise/depthwise.cpp
      TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS "-fno-sanitize=all")
  endif()
  if(TESSERA_SCALAR_ONLY)
    target_compile_definitions(${target} PRIVATE HWY_COMPILE_ONLY_SCALAR TESSERA_SCALAR_ONLY)
  else()
    target_compile_definitions(${target} PRIVATE HWY_BASELINE_TARGETS=HWY_SCALAR "HWY_DISABLED_TARGETS=(~(HWY_AVX3|HWY_AVX2|HWY_NEON|HWY_SCALAR))")
  endif()
endfunction()
