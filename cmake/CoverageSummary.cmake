# Prints the share of lines that the tests reached, per file of the library. Called as a script by the target coverage_summary, with
# SOURCE_DIR and BINARY_DIR. Needs lcov or gcovr (apt-get install lcov).
find_program(LCOV lcov)
find_program(GCOVR gcovr)
if(LCOV)
  execute_process(COMMAND ${LCOV} --quiet --capture --directory ${BINARY_DIR} --base-directory ${SOURCE_DIR} --no-external
                          --output-file ${BINARY_DIR}/coverage_all.info COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${LCOV} --quiet --extract ${BINARY_DIR}/coverage_all.info ${SOURCE_DIR}/tessera/* ${SOURCE_DIR}/apps/*
                          --output-file ${BINARY_DIR}/coverage.info COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${LCOV} --list ${BINARY_DIR}/coverage.info COMMAND_ERROR_IS_FATAL ANY)
elseif(GCOVR)
  execute_process(COMMAND ${GCOVR} --root ${SOURCE_DIR} --filter tessera/ --filter apps/ ${BINARY_DIR} COMMAND_ERROR_IS_FATAL ANY)
else()
  message(FATAL_ERROR "a summary of the coverage needs lcov or gcovr: apt-get install lcov")
endif()
