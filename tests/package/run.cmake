# Installs the built library into a fresh folder, builds the outside project against that folder alone, and runs it on a trained policy.
# Called by ctest with -D SOURCE_DIR, BINARY_DIR, WORK_DIR, GENERATOR, COMPILER, BUILD_TYPE and FLAGS.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed with ${status}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
  message(STATUS "${what}: done")
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
run("install" ${CMAKE_COMMAND} --install ${BINARY_DIR} --prefix ${WORK_DIR}/prefix)
run("configure" ${CMAKE_COMMAND} -S ${SOURCE_DIR}/tests/package -B ${WORK_DIR}/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_BUILD_TYPE=${BUILD_TYPE} "-DCMAKE_CXX_FLAGS=${FLAGS}" -DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix)
run("build" ${CMAKE_COMMAND} --build ${WORK_DIR}/build)

# Nothing that was installed may lead back to the sources.
file(GLOB_RECURSE scripts ${WORK_DIR}/prefix/*.cmake)
foreach(script IN LISTS scripts)
  file(READ ${script} text)
  string(FIND "${text}" "${SOURCE_DIR}/" position)
  if(NOT position EQUAL -1)
    message(FATAL_ERROR "${script} names ${SOURCE_DIR}")
  endif()
endforeach()

set(policy ${SOURCE_DIR}/tests/goldens/policies/metaworld_pi0)
set(observation ${policy}/observations/faucet-open-0)
run("policy" ${WORK_DIR}/build/policy ${policy} "open the faucet" 0.0045042322,0.4003299177,0.1957403421,1.0 scene=${observation}.scene.png
    wrist=${observation}.wrist.png)
string(REGEX MATCHALL "[^\n]+" lines "${output}")
list(LENGTH lines count)
if(NOT count EQUAL 16 OR NOT output MATCHES "^( *-?[0-9]+\\.[0-9]+ +-?[0-9]+\\.[0-9]+ +-?[0-9]+\\.[0-9]+ +-?[0-9]+\\.[0-9]+\n)+$")
  message(FATAL_ERROR "expected 16 actions of 4 numbers, got:\n${output}")
endif()
message(STATUS "the chunk of the trained policy:\n${output}")
