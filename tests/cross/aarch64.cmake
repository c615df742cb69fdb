# Compiles the conformance test for aarch64 and runs it under an emulator: the NEON kernels against
# the reference. Says so and ends well where there is no cross compiler or no emulator.
#   cmake -D SOURCE_DIR=... -D EIGEN_INCLUDE=... -D DOCTEST_INCLUDE=... -D FOLDER=... -P aarch64.cmake
cmake_minimum_required(VERSION 3.25)

find_program(COMPILER aarch64-linux-gnu-g++)
find_program(EMULATOR qemu-aarch64)
if(NOT COMPILER OR NOT EMULATOR)
  message("skipped: scripts/install_dependencies.sh --aarch64 installs cross compiler and emulator")
  return()
endif()

# A folder of doctest's own: the system's headers beside it are those of another machine.
file(MAKE_DIRECTORY ${FOLDER}/include/doctest)
file(COPY ${DOCTEST_INCLUDE}/doctest/doctest.h DESTINATION ${FOLDER}/include/doctest)
foreach(command IN ITEMS
    "${COMPILER} -std=c++20 -O2 -Wall -Wextra -Wpedantic -Wconversion -Werror -static -pthread \
     -I ${SOURCE_DIR}/include -I ${SOURCE_DIR}/backends/eigen -I ${SOURCE_DIR}/tests \
     -isystem ${EIGEN_INCLUDE} -isystem ${FOLDER}/include ${SOURCE_DIR}/tests/main.cpp \
     ${SOURCE_DIR}/tests/conformance/conformance_test.cpp -o ${FOLDER}/conformance_tests"
    "${EMULATOR} ${FOLDER}/conformance_tests")
  separate_arguments(words UNIX_COMMAND "${command}")
  execute_process(COMMAND ${words} RESULT_VARIABLE result COMMAND_ECHO STDOUT)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed with ${result}")
  endif()
endforeach()
