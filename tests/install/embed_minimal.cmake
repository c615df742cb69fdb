# Builds and runs examples/embed_minimal as somebody else's program: in a folder of its own, with one
# call of the compiler and nothing from this build but include paths.
#   cmake -D COMPILER=... -D SOURCE_DIR=... -D EIGEN_INCLUDE=... -D PROMISEG=... -P embed_minimal.cmake
cmake_minimum_required(VERSION 3.25)

set(temporary $ENV{TMPDIR})
if(NOT temporary)
  set(temporary /tmp)
endif()
string(RANDOM LENGTH 16 name)
set(folder ${temporary}/promiseg_embed_${name})
file(MAKE_DIRECTORY ${folder})

# Runs a command in the folder; any failure ends the script.
function(run)
  execute_process(COMMAND ${ARGV} WORKING_DIRECTORY ${folder} RESULT_VARIABLE result
                  OUTPUT_VARIABLE output ERROR_VARIABLE output COMMAND_ECHO STDOUT)
  message(STATUS "${output}")
  if(NOT result EQUAL 0)
    file(REMOVE_RECURSE ${folder})
    message(FATAL_ERROR "failed with ${result}: ${ARGV}")
  endif()
endfunction()

function(check condition_text)
  if(NOT (${ARGN}))
    file(REMOVE_RECURSE ${folder})
    message(FATAL_ERROR "the mask: expected ${condition_text}")
  endif()
endfunction()

file(COPY ${SOURCE_DIR}/examples/embed_minimal/segment.cpp DESTINATION ${folder})
run(${COMPILER} -std=c++20 -O1 -pthread -I ${SOURCE_DIR}/include -I ${SOURCE_DIR}/backends/eigen
    -I ${EIGEN_INCLUDE} segment.cpp -o segment)

# The real weights where they are, else synthetic ones of a small size.
set(model $ENV{PROMISEG_MODEL})
if(NOT model AND DEFINED ENV{XDG_DATA_HOME})
  set(model $ENV{XDG_DATA_HOME}/promiseg/litemedsam.safetensors)
elseif(NOT model)
  set(model $ENV{HOME}/.local/share/promiseg/litemedsam.safetensors)
endif()
if(NOT EXISTS ${model})
  set(model ${folder}/model.safetensors)
  run(${PROMISEG} synth vit_b --seed 1 -o ${model} --config "{\"image_size\": 64, \
    \"patch_size\": 8, \"encoder_embed_dim\": 32, \"encoder_depth\": 2, \"encoder_num_heads\": 2, \
    \"global_attn_indexes\": [1], \"window_size\": 3, \"prompt_embed_dim\": 32}")
endif()

# A bright square, "z", on a dark ground, " ": 50 x 40 pixels.
string(REPEAT " " 50 dark)
string(REPEAT " " 15 margin)
string(REPEAT "z" 20 bright)
string(REPEAT "${dark}" 10 above)
string(REPEAT "${margin}${bright}${margin}" 20 middle)
file(WRITE ${folder}/image.pgm "P5\n50 40\n255\n${above}${middle}${above}")
run(${folder}/segment ${model} image.pgm 13,8,37,32 mask.pgm)

# "P5\n50 40\n255\n", then one byte a pixel.
file(READ ${folder}/mask.pgm mask HEX)
string(LENGTH "${mask}" digits)
math(EXPR expected_digits "2 * (13 + 50 * 40)")
check("the header of 50 x 40 pixels, got ${mask}"
  mask MATCHES "^50350a35302034300a3235350a")
check("${expected_digits} hexadecimal digits, got ${digits}" digits EQUAL expected_digits)
string(SUBSTRING "${mask}" 26 -1 pixels)
check("values 0 and 255 only, got ${pixels}" pixels MATCHES "^(00|ff)+$")
file(REMOVE_RECURSE ${folder})
