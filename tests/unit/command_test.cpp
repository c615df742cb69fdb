// How the command behaves whatever the verb: help, wrong usage, failures, JSON.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "command_fixture.hpp"
#include "promiseg/io/safetensors.hpp"
#include "promiseg/sam/model_file.hpp"

using namespace promiseg_test;
using promiseg::Index;
using promiseg::Json;
namespace fs = std::filesystem;

namespace {

using Arguments = std::vector<std::string>;

const Arguments kVerbs = {"segment", "train", "evaluate", "convert", "inspect",
                          "verify",  "synth", "trace",    "backends"};

std::string test_data(const std::string& name) { return PROMISEG_TEST_DATA "/" + name; }

void write_text(const fs::path& path, const std::string& text) { write_bytes(path, text); }

/// Writes a copy of a model with one tensor left out or replaced.
void write_changed_model(const fs::path& from, const fs::path& to, const std::string& tensor,
                         const promiseg::TensorEntry* replacement) {
  const promiseg::SafetensorsFile model(from);
  promiseg::SafetensorsWriter writer;
  for (const auto& [key, value] : model.metadata()) writer.set_metadata(key, value);
  REQUIRE(model.contains(tensor));
  for (const auto& [name, entry] : model.tensors()) {
    if (name != tensor) {
      writer.add(name, entry);
    } else if (replacement != nullptr) {
      writer.add(name, *replacement);
    }
  }
  writer.write(to);
}

/// The arguments as a shell would get them, for messages.
std::string joined(const Arguments& arguments) {
  std::string line = "promiseg";
  for (const std::string& argument : arguments) line += " '" + argument + "'";
  return line;
}

/// The work must fail with one line that contains `expected`, and leave every file as it was.
void check_failure(const CommandFixture& fixture, const Arguments& arguments,
                   const std::string& expected) {
  CAPTURE(joined(arguments));
  const std::set<std::string> before = files_below(fixture.path());
  const CommandResult result = run_promiseg(arguments);
  check_complaint(result, 1);
  CHECK_MESSAGE(result.err.find(expected) != std::string::npos, "expected \"", expected,
                "\" in: ", result.err);
  CHECK(files_below(fixture.path()) == before);
}

}  // namespace

TEST_CASE("command: help") {
  const std::string overview = run_well({"--help"});
  for (const std::string& verb : kVerbs) {
    CAPTURE(verb);
    CHECK(overview.find("\n  " + verb + " ") != std::string::npos);
    const CommandResult result = run_promiseg({verb, "--help"});
    CHECK(result.exit_code == 0);
    CHECK(result.err.empty());
    CHECK(result.out.find("Usage: promiseg " + verb) != std::string::npos);
    CHECK(result.out.find("--json") != std::string::npos);
  }
}

TEST_CASE("command: wrong usage") {
  const CommandFixture fixture;
  const std::string out = fixture / "out";
  const std::string model = fixture / "new.safetensors";
  const Arguments segment = {"segment", fixture.image(), "--model", fixture.model(), "-o", out};
  const auto with = [](Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  write_text(fixture / "prompts.json", R"({"objects": [{"box": [1, 2, 30, 30]}]})");
  const std::vector<Arguments> cases = {
      {},
      {"paint"},
      {"backends", "--colour"},
      {"segment", fixture.image(), "-o", out, "--box", "1,2,30,30"},  // no model
      {"segment", "-o", out, "--box", "1,2,30,30"},                   // no image
      {"segment", fixture.image(), "--model", fixture.model(), "--box", "1,2,30,30"},
      segment,  // no prompt
      with(segment, {"--box", "1,2,30"}),
      with(segment, {"--box", "1,2,30,30,40"}),
      with(segment, {"--box", "1,2,30,x"}),
      with(segment, {"--box", "1,2,30,nan"}),
      with(segment, {"--box", ""}),
      with(segment, {"--point", "1,2"}),
      with(segment, {"--point", "1,2,7"}),
      with(segment, {"--point", "1,2,0.5"}),
      with(segment, {"--box", "1,2,30,30", "--prompts", fixture / "prompts.json"}),
      with(segment, {"--box", "1,2,9,9", "--box", "1,2,8,8", "--mask-prompt", fixture.image()}),
      with(segment, {"--box", "1,2,30,30", "--window", "5"}),
      with(segment, {"--box", "1,2,30,30", "--window", "9,1"}),
      with(segment, {"--box", "1,2,30,30", "--frame", "-1"}),
      with(segment, {"--box", "1,2,30,30", "--threads", "-1"}),
      with(segment, {"--box", "1,2,30,30", "--backend", "abacus"}),
      with(segment, {"--box", "1,2,30,30", "--precision", "fp8"}),
      {"synth", "vit_x", "--seed", "1", "-o", model},
      {"synth", "vit_b", "-o", model},
      {"synth", "vit_b", "--seed", "-1", "-o", model, "--config", kSmallVit},
      {"synth", "vit_b", "--seed", "1", "-o", model, "--config", "{\"image_size\": "},
      {"synth", "vit_b", "--seed", "1", "-o", model, "--config", "[1]"},
      {"synth", "vit_b", "--seed", "1", "-o", model, "--config", R"({"image_siez": 64})"},
      {"synth", "vit_b", "--seed", "1", "-o", model, "--config", R"({"image_size": "64"})"},
      {"synth", "vit_b", "--seed", "1", "-o", model, "--config", R"({"encoder_num_heads": 7})"},
      {"convert", test_data("fixtures/sam_tiny_weights.pth")},
      {"convert", test_data("fixtures/sam_tiny_weights.pth"), "-o", model, "--arch", "unet"},
      {"convert", test_data("fixtures/sam_tiny_weights.pth"), "-o", model, "--config",
       R"({"decoder_heads": 4})"},
      {"inspect"},
      {"verify"},
      {"trace", "--model", fixture.model(), "-o", model},
  };
  const std::set<std::string> before = files_below(fixture.path());
  for (const Arguments& arguments : cases) {
    CAPTURE(joined(arguments));
    check_complaint(run_promiseg(arguments), 2);
  }
  CHECK(files_below(fixture.path()) == before);
}

TEST_CASE("command: bad images and prompts") {
  const CommandFixture fixture;
  const auto fails = [&](const std::string& image, Arguments more, const std::string& expected) {
    Arguments arguments = {"segment", image, "--model", fixture.model(), "-o", fixture / "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    check_failure(fixture, arguments, expected);
  };
  const Arguments box = {"--box", "1,2,30,30"};
  fails(fixture / "absent.png", box, "absent.png");
  write_text(fixture / "text.png", "no picture at all\n");
  fails(fixture / "text.png", box, "text.png");
  write_text(fixture / "empty.png", "");
  fails(fixture / "empty.png", box, "empty.png");
  std::vector<char> cut = read_bytes(fixture.image());
  cut.resize(cut.size() / 2);
  write_bytes(fixture / "cut.png", cut);
  fails(fixture / "cut.png", box, "cut.png");
  fs::create_directory(fixture / "nothing");
  fails(fixture / "nothing", box, "nothing");

  // The picture has 60 x 40 pixels.
  fails(fixture.image(), {"--box", "70,2,90,30"}, "60 x 40");
  fails(fixture.image(), {"--box", "1,2,30,50"}, "60 x 40");
  fails(fixture.image(), {"--box", "-5,2,30,30"}, "60 x 40");
  fails(fixture.image(), {"--box", "30,2,10,30"}, "box");
  fails(fixture.image(), {"--point", "60,10,1"}, "60 x 40");
  fails(fixture.image(), {"--point", "10,40,1"}, "60 x 40");
  fails(fixture.image(), {"--point", "-1,10,0"}, "60 x 40");
  fails(fixture.image(), {"--box", "1,2,30,30", "--frame", "1"}, "frame");

  fails(fixture.image(), {"--prompts", fixture / "absent.json"}, "absent.json");
  write_text(fixture / "bad.json", R"({"objects": [{"box": [1, 2, 3]}]})");
  fails(fixture.image(), {"--prompts", fixture / "bad.json"}, "bad.json");
  promiseg::write_png(fixture / "small_mask.png", CommandFixture::picture(10, 10));
  fails(fixture.image(), {"--mask-prompt", fixture / "small_mask.png"}, "small_mask.png");
  write_text(fixture / "mask.npy", "\x93NUMPY\x01");
  fails(fixture.image(), {"--mask-prompt", fixture / "mask.npy"}, "mask.npy");
  fails(fixture.image(), {"--box", "1,2,30,30", "--embedding", fixture / "absent.st"}, "absent.st");
}

TEST_CASE("command: bad checkpoints") {
  const CommandFixture fixture;
  const auto fails = [&](const std::string& input, const std::string& expected) {
    check_failure(fixture, {"convert", input, "-o", fixture / "new.safetensors"}, expected);
  };
  fails(fixture / "absent.pth", "absent.pth");
  std::vector<char> bytes = read_bytes(test_data("fixtures/sam_tiny_weights.pth"));
  for (std::size_t part : {1, 2, 9}) {
    write_bytes(fixture / "cut.pth", std::span(bytes).first(bytes.size() * part / 10));
    fails(fixture / "cut.pth", "cut.pth");
  }
  fails(test_data("checkpoints/hostile.pth"), "hostile.pth");
  fails(test_data("checkpoints/hostile_legacy.pth"), "hostile_legacy.pth");
  fails(test_data("checkpoints/torchscript.pt"), "torchscript.pt");
  fails(test_data("checkpoints/zip.pth"), "zip.pth");  // tensors, but none of a SAM
  fails(fixture.image(), "picture.png");

  // The right weights, under a name that does not fit or onto themselves.
  check_failure(fixture,
                {"convert", test_data("fixtures/sam_tiny_weights.pth"), "--arch", "vit_b", "-o",
                 fixture / "new.safetensors"},
                "vit_b");
  const std::vector<char> model = read_bytes(fixture.model());
  check_failure(fixture, {"convert", fixture.model(), "-o", fixture.model()}, "model.safetensors");
  CHECK(read_bytes(fixture.model()) == model);
  check_failure(fixture,
                {"convert", test_data("fixtures/sam_tiny_weights.pth"), "-o",
                 fixture / "no_folder/new.safetensors"},
                "no_folder");
}

TEST_CASE("command: bad models") {
  const CommandFixture fixture;
  const std::string bad = fixture / "bad.safetensors";
  const std::string input = fixture / "input.safetensors";
  promiseg::SafetensorsWriter writer;
  writer.adopt("embedding", promiseg::Tensor<float, 4>({1, 32, 8, 8}).view());
  writer.write(input);
  const auto fails = [&](const std::string& expected) {
    check_failure(fixture, {"verify", bad, "--quiet"}, expected);
    check_failure(
        fixture,
        {"segment", fixture.image(), "--model", bad, "--box", "1,2,30,30", "-o", fixture / "out"},
        expected);
    check_failure(fixture,
                  {"trace", "--model", bad, "--input", input, "-o", fixture / "trace.safetensors"},
                  expected);
  };
  const std::string tensor = "image_encoder.blocks.1.mlp.lin1.weight";
  write_changed_model(fixture.model(), bad, tensor, nullptr);
  fails(tensor);

  std::vector<float> values(64, 0.5F);
  const promiseg::TensorEntry small{promiseg::DType::f32, {8, 8}, std::as_bytes(std::span(values))};
  write_changed_model(fixture.model(), bad, tensor, &small);
  fails(tensor);

  const std::vector<char> bytes = read_bytes(fixture.model());
  write_bytes(bad, std::span(bytes).first(bytes.size() - 100));
  fails("bad.safetensors");
  write_text(bad, "\x10");
  fails("bad.safetensors");
  fs::copy_file(test_data("fixtures/sam_tiny_weights.pth"), bad,
                fs::copy_options::overwrite_existing);
  fails("bad.safetensors");
  // Weights, but nothing that says what they are.
  fs::copy_file(test_data("fixtures/vit_l_synth.safetensors"), bad,
                fs::copy_options::overwrite_existing);
  fails("convert");
}

TEST_CASE("command: a changed value is found by verify") {
  const CommandFixture fixture;
  const std::string bad = fixture / "bad.safetensors";
  std::vector<char> bytes = read_bytes(fixture.model());
  bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
  write_bytes(bad, bytes);
  CHECK(run_json({"verify", fixture.model()}).at("ok").as_bool());
  check_failure(fixture, {"verify", bad, "--quiet"}, "bad.safetensors");
  const CommandResult result = run_promiseg({"verify", bad, "--json"});
  CHECK(result.exit_code == 1);
  CHECK_FALSE(Json::parse(result.out).at("ok").as_bool());
}

TEST_CASE("command: JSON is one object on stdout") {
  const CommandFixture fixture;
  const std::string converted = fixture / "converted.safetensors";
  const Json convert = run_json({"convert", test_data("fixtures/sam_tiny_weights.pth"), "-o",
                                 converted, "--config", R"({"decoder_num_heads": 4})"});
  CHECK(convert.at("output").as_string() == converted);
  CHECK(fs::exists(converted));
  CHECK(run_json({"inspect", converted}).at("kind").as_string() == "model");
  CHECK(run_json({"inspect", test_data("fixtures/sam_tiny_weights.pth")})
            .at("tensor_count")
            .as_integer() == 202);
  CHECK(run_json({"verify", converted}).at("ok").as_bool());
  const Json synth = run_json({"synth", "litemedsam", "--seed", "1", "-o",
                               fixture / "synth.safetensors", "--config", kSmallTinyVit});
  CHECK(synth.at("weights_sha256").as_string().size() == 64);
  CHECK(run_json({"segment", fixture.image(), "--model", fixture.model(), "--box", "5,5,30,30",
                  "-o", fixture / "out"})
            .at("images")
            .as_array()
            .size() == 1);
  promiseg::SafetensorsWriter writer;
  writer.adopt("pixels", CommandFixture::picture(20, 30).view().broadcast_to({20, 30, 3}));
  writer.write(fixture / "pixels.safetensors");
  const Json trace =
      run_json({"trace", "--model", fixture.model(), "--input", fixture / "pixels.safetensors",
                "-o", fixture / "trace.safetensors"});
  CHECK(fs::exists(trace.at("output").as_string()));
  const Json backends = run_json({"backends"});
  CHECK(backends.at("backends").as_array().size() >= 2);
}

TEST_CASE("command: the environment forces an instruction set, for the whole process") {
  const auto used = [](const char* wanted) {
    const Json backends =
        run_json({"backends"}, {{"PROMISEG_INSTRUCTION_SET", wanted}}).at("backends");
    return backends.as_array().front().at("instruction_set").as_string();
  };
  CHECK(used("generic") == "generic");
  const Json names =
      run_json({"backends"}).at("backends").as_array().front().at("instruction_sets");
  CHECK(used("") == names.as_array().back().as_string());
  CommandResult refused = run_promiseg({"backends"}, {{"PROMISEG_INSTRUCTION_SET", "sse2"}});
  check_complaint(refused, 1);
  CHECK(refused.err.find("got \"sse2\"") != std::string::npos);
}

TEST_CASE("command: it tells its version") {
  const std::string said = run_well({"--version"});
  CHECK(std::count(said.begin(), said.end(), '.') == 2);
}

TEST_CASE("command: synth is the same every time, and another seed another model") {
  const CommandFixture fixture;
  const auto synth = [&](const char* seed, const std::string& name) {
    const std::string path = fixture / name;
    run_well({"synth", "vit_b", "--seed", seed, "-o", path, "--config", kSmallVit});
    return read_bytes(path);
  };
  const std::vector<char> five = synth("5", "a");
  CHECK(five == read_bytes(fixture.model()));
  CHECK(five != synth("6", "b"));
  write_text(fixture / "config.json", kSmallVit);
  run_well({"synth", "vit_b", "--seed", "5", "-o", fixture / "c", "--config",
            "@" + std::string(fixture / "config.json")});
  CHECK(five == read_bytes(fixture / "c"));
}

TEST_CASE("command: quiet says nothing") {
  const CommandFixture fixture;
  const Arguments segment = {"segment", fixture.image(), "--model", fixture.model(),
                             "--box",   "5,5,30,30",     "-o",      fixture / "out"};
  CHECK_FALSE(run_well(segment).empty());
  Arguments quietly = segment;
  quietly.emplace_back("--quiet");
  CHECK(run_well(quietly).empty());
  CHECK(run_well({"verify", fixture.model(), "--quiet"}).empty());
}
