# How this project compiles its own programs and tests. Consumers of the library never see this.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(PROMISEG_CCACHE ccache)
if(PROMISEG_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without these ccache leaves out all that is compiled with a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros ${PROMISEG_CCACHE})
endif()

add_library(promiseg_warnings INTERFACE)
target_compile_options(promiseg_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns inside its own string and Eigen's headers where it knows sizes (GCC bugs 105329,
  # 105651, 105523, 104475).
  target_compile_options(promiseg_warnings INTERFACE
    -Wno-restrict -Wno-array-bounds -Wno-stringop-overread -Wno-stringop-overflow
    -Wno-free-nonheap-object)
endif()
if(PROMISEG_WARNINGS_AS_ERRORS)
  target_compile_options(promiseg_warnings INTERFACE -Werror)
endif()
