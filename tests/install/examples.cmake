# Runs the example programs about packs on a small synthetic model and packs.
#   cmake -D AUTO_SEGMENT=... -D CORRECT_PROMPT=... -D TWO_PACKS=... -D PROMISEG=...
#         -D IMAGE=... -D FOLDER=... -P examples.cmake
# The first four are programs, IMAGE is disc.png, FOLDER is emptied and holds what is written.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER})

# run(EXPECTED_EXIT_CODE command...): what the command said is in `output`.
function(run expected)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${FOLDER} RESULT_VARIABLE result
                  OUTPUT_VARIABLE text ERROR_VARIABLE text COMMAND_ECHO STDOUT)
  message(STATUS "${text}")
  if(NOT result STREQUAL expected)
    message(FATAL_ERROR "expected exit code ${expected}, got ${result}: ${ARGN}")
  endif()
  set(output "${text}" PARENT_SCOPE)
endfunction()

function(expect_output pattern)
  if(NOT output MATCHES "${pattern}")
    message(FATAL_ERROR "expected output that matches \"${pattern}\", got: ${output}")
  endif()
endfunction()

function(expect_same first second)
  file(SHA256 ${FOLDER}/${first} one)
  file(SHA256 ${FOLDER}/${second} other)
  if(NOT one STREQUAL other)
    message(FATAL_ERROR "expected the same bytes in ${first} and ${second}")
  endif()
endfunction()

function(expect_different first second)
  file(SHA256 ${FOLDER}/${first} one)
  file(SHA256 ${FOLDER}/${second} other)
  if(one STREQUAL other)
    message(FATAL_ERROR "expected different masks in ${first} and ${second}")
  endif()
endfunction()

function(expect_absent name)
  if(EXISTS ${FOLDER}/${name})
    message(FATAL_ERROR "expected that nothing writes ${name}")
  endif()
endfunction()

# A PNG's header gives its width and height as two 32-bit numbers: 60 x 44, the size of disc.png.
function(expect_size_of_image name)
  file(READ ${FOLDER}/${name} size OFFSET 16 LIMIT 8 HEX)
  if(NOT size STREQUAL 0000003c0000002c)
    message(FATAL_ERROR "expected 60 x 44 pixels in ${name}, got ${size} (hexadecimal)")
  endif()
endfunction()

function(make_model name seed)
  run(0 ${PROMISEG} synth vit_b --seed ${seed} -o ${name} --config "{\"image_size\": 64, \
    \"patch_size\": 8, \"encoder_embed_dim\": 32, \"encoder_depth\": 2, \"encoder_num_heads\": 2, \
    \"global_attn_indexes\": [1], \"window_size\": 3, \"prompt_embed_dim\": 32}")
endfunction()

function(make_pack kind seed name config)
  run(0 ${PROMISEG} synth ${kind} --for model.safetensors --seed ${seed} -o ${name}
      --config "{${config}}")
endfunction()

make_model(model.safetensors 1)
make_model(other.safetensors 2)
make_pack(promise_resnet18 1 points.safetensors "\"label\": \"disc\", \"tap_blocks\": [2, 1], \
  \"point_num\": 3, \"point_value\": [1, 1, 0], \"resnet_blocks\": [1, 1, 1, 1]")
make_pack(promise_cross 1 corners.safetensors "\"tap_blocks\": [2, 1, 1], \"point_num\": 2, \
  \"point_value\": [2, 3], \"cross_num_heads\": 4")
make_pack(promise_resnet18 1 shift1.safetensors "\"apm\": \"none\", \"own_prompt\": \"image\"")
make_pack(promise_resnet18 2 shift2.safetensors "\"apm\": \"none\", \"own_prompt\": \"image\"")
make_pack(promise_resnet18 1 silent.safetensors "\"apm\": \"none\"")

# Without a prompt: a mask that is neither empty nor full, and the same as the command's.
run(0 ${AUTO_SEGMENT} model.safetensors points.safetensors ${IMAGE} auto.png)
expect_output("^disc: [0-9]+ of 2640 pixels, score ")
string(REGEX MATCH "[0-9]+" inside "${output}")
if(inside LESS 1 OR inside GREATER 2639)
  message(FATAL_ERROR "expected a mask of some pixels and not of all 2640, got ${inside}")
endif()
expect_size_of_image(auto.png)
run(0 ${PROMISEG} segment ${IMAGE} --model model.safetensors --pack points.safetensors -o out)
expect_same(auto.png out/disc_mask.png)

# A corrected prompt gives another mask, from the same embedding.
foreach(change move=1,5,40 remove=2 add=8,36,1)
  run(0 ${CORRECT_PROMPT} model.safetensors points.safetensors ${IMAGE} ${change} before.png
      after.png)
  expect_output("encode: .*predicted points:.*3: .*decode: .*corrected points:.*decode again: ")
  expect_same(auto.png before.png)
  expect_different(before.png after.png)
  expect_size_of_image(after.png)
endforeach()
expect_output("4: 8,36 label 1")

# Two packs, one encoding, two masks; the same as each alone.
run(0 ${TWO_PACKS} eigen model.safetensors points.safetensors corners.safetensors ${IMAGE} one.png
    two.png)
expect_output("encoded once: .*one.png: .*two.png: ")
expect_same(auto.png one.png)
expect_different(one.png two.png)
run(0 ${AUTO_SEGMENT} model.safetensors corners.safetensors ${IMAGE} corners.png)
expect_same(corners.png two.png)
run(0 ${TWO_PACKS} reference model.safetensors corners.safetensors points.safetensors ${IMAGE}
    two_reference.png one_reference.png)
expect_different(one_reference.png two_reference.png)
# These two differ in nothing but IPS.
run(0 ${TWO_PACKS} eigen model.safetensors shift1.safetensors shift2.safetensors ${IMAGE}
    shift1.png shift2.png)
expect_different(shift1.png shift2.png)

# Failures: 2 and the usage, or 1 and a message that names the culprit; nothing is written.
foreach(program ${AUTO_SEGMENT} ${CORRECT_PROMPT} ${TWO_PACKS})
  run(2 ${program})
  expect_output("^usage: ")
endforeach()
foreach(change turn=1 move=1,5 add=8,36,7 remove=1,2)
  run(2 ${CORRECT_PROMPT} model.safetensors points.safetensors ${IMAGE} ${change} no.png no.png)
endforeach()
run(1 ${CORRECT_PROMPT} model.safetensors points.safetensors ${IMAGE} remove=4 no.png no.png)
expect_output("there is no point 4, the pack predicted 3")
run(1 ${CORRECT_PROMPT} model.safetensors points.safetensors ${IMAGE} move=1,5,4000 no.png no.png)
expect_output("point 5,4000 lies outside")
run(1 ${AUTO_SEGMENT} model.safetensors points.safetensors missing.png no.png)
expect_output("missing.png")
run(1 ${AUTO_SEGMENT} model.safetensors silent.safetensors ${IMAGE} no.png)
expect_output("silent.safetensors: this pack predicts no prompts")
run(1 ${TWO_PACKS} eigen other.safetensors points.safetensors corners.safetensors ${IMAGE} no.png
    no.png)
expect_output("points.safetensors: the pack belongs to the model")
run(2 ${TWO_PACKS} abacus model.safetensors points.safetensors corners.safetensors ${IMAGE} no.png
    no.png)
expect_absent(no.png)
