#include "promiseg/adapt/pack_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "convert.hpp"
#include "hostile_files.hpp"
#include "inspect.hpp"
#include "promiseg/adapt/pack.hpp"
#include "promiseg/backend/reference.hpp"
#include "promiseg/sam/predictor.hpp"
#include "temporary_folder.hpp"
#include "weight_files.hpp"

using namespace promiseg;
using namespace promiseg::tools;
using namespace promiseg_test;

namespace {

PackConfig small_resnet_config() {
  PackConfig config = small_ips_config();
  config.apm = ApmKind::resnet;
  config.tap_blocks = {2, 1};
  config.point_num = 2;
  config.point_value = {1, 0};
  config.resnet_blocks = {1, 1, 1, 1};
  config.point_scale = 64;
  return config;
}

/// A small model and packs for it.
class Files {
 public:
  Files() {
    synth_model(promise_ips_config(), 7, model());
    synth_model(promise_ips_config(), 8, other_model());
    synth_pack(small_ips_config(), ModelFile(model()), 7, pack());
  }

  std::filesystem::path model() const { return folder_ / "model.safetensors"; }
  std::filesystem::path other_model() const { return folder_ / "other.safetensors"; }
  std::filesystem::path pack() const { return folder_ / "pack.safetensors"; }
  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  /// The pack with its description changed.
  std::filesystem::path with_description(const std::string& from, const std::string& to) const {
    EditableWeights weights(pack());
    std::string& text = weights.metadata.at("promiseg");
    const std::size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    text.replace(at, from.size(), to);
    weights.write(folder_ / "changed.safetensors");
    return folder_ / "changed.safetensors";
  }

 private:
  TemporaryFolder folder_;
};

/// Opening must fail with a message that contains `expected`.
void check_refused(const std::filesystem::path& path, const char* expected) {
  CHECK_THROWS_WITH_AS(PackFile{path}, doctest::Contains(expected), Error);
}

bool any_mentions(const std::vector<std::string>& problems, std::string_view text) {
  return std::any_of(problems.begin(), problems.end(), [&](const std::string& problem) {
    return problem.find(text) != problem.npos;
  });
}

}  // namespace

TEST_CASE("pack file: what is written is read") {
  const Files files;
  const PackFile pack(files.pack());
  const ModelFile model(files.model());
  CHECK(pack.config() == small_ips_config());
  CHECK(pack.provenance().model_sha256 == model.provenance().weights_sha256);
  CHECK(pack.provenance().model_name == "vit (synth:vit:7)");
  CHECK(pack.provenance().source == "synth:pack:7");
  CHECK(pack.provenance().weights_sha256 == weights_sha256(pack.file().tensors()));
  CHECK(pack.provenance().training.is_null());
  CHECK(pack.file().tensors().size() == 4);
}

TEST_CASE("pack file: what is none is refused with a reason") {
  const Files files;
  check_refused(files.model(), "expected a pack, got: model");
  EditableWeights(sam_tiny()).write(files / "plain.safetensors");
  check_refused(files / "plain.safetensors", "does not describe a promiseg pack");
  check_refused(sam_tiny(), "sam_tiny_weights.pth");
  check_refused(files / "absent", "absent");
  CHECK_THROWS_WITH_AS(ModelFile{files.pack()}, doctest::Contains("expected a model, got: pack"),
                       Error);
}

TEST_CASE("pack file: a description that cannot be is refused by name") {
  const Files files;
  const auto refused = [&](const char* from, const char* to, const char* expected) {
    CAPTURE(to);
    check_refused(files.with_description(from, to), expected);
  };
  refused(R"("apm": "none")", R"("apm": "foo")",
          "\"apm\": expected none or resnet or cross, got foo");
  refused(R"("format_version": 1)", R"("format_version": 2)", "format version 2");
  refused(R"("ips_hidden_dim": 8)", R"("ips_hidden_dim": 65537)", "65537");
  refused(R"("ips_hidden_dim")", R"("ips_hiden_dim")", "ips_hiden_dim");
  refused(R"("model_sha256")", R"("model_sha")", "model_sha256");
  refused(R"("config": {)", R"("config": [{)", "changed.safetensors");
  // A number of points that the labels do not match.
  refused(R"("apm": "none")", R"("point_num": 3, "apm": "resnet")",
          "point_num is 3 but point_value has 16");
}

TEST_CASE("pack file: truncated and damaged files") {
  const Files files;
  const auto open = [](const std::filesystem::path& path) { PackFile{path}; };
  check_truncations(files.pack(), 97, open);
  check_flips(files.pack(), 1500, 200, open);
  check_truncations(files.pack(), 397, [](const auto& path) { verify(path); });
  check_flips(files.pack(), 1500, 100, [](const auto& path) { verify(path); });
  check_flips(files.pack(), 1500, 100, [](const auto& path) { to_text(inspect(path)); });
}

TEST_CASE("pack file: it loads over its own model only, and both are named") {
  const Files files;
  const PackFile pack(files.pack());
  Predictor<ReferenceBackend> right(ReferenceBackend(), ModelFile(files.model()));
  CHECK_NOTHROW(Pack<ReferenceBackend>(right, pack));
  Predictor<ReferenceBackend> wrong(ReferenceBackend(), ModelFile(files.other_model()));
  CHECK_THROWS_WITH_AS(Pack<ReferenceBackend>(wrong, pack), doctest::Contains("vit (synth:vit:7)"),
                       Error);
  CHECK_THROWS_WITH_AS(Pack<ReferenceBackend>(wrong, pack), doctest::Contains("vit (synth:vit:8)"),
                       Error);
}

TEST_CASE("pack file: loading compares the number of points with the tensors") {
  const Files files;
  const ModelFile model(files.model());
  synth_pack(small_resnet_config(), model, 3, files / "points.safetensors");
  EditableWeights weights(files / "points.safetensors");
  weights.set_zero("apm_resnet.fc.weight", {6, 512});
  weights.write(files / "points.safetensors");
  Predictor<ReferenceBackend> predictor(ReferenceBackend(), model);
  CHECK_THROWS_WITH_AS(
      Pack<ReferenceBackend>(predictor, PackFile(files / "points.safetensors")),
      doctest::Contains("\"apm_resnet.fc.weight\": expected shape [4, 512], got [6, 512]"), Error);
  const auto problems = verify(files / "points.safetensors").problems;
  CHECK(any_mentions(problems, "\"apm_resnet.fc.weight\": expected shape [4, 512], got [6, 512]"));
}

TEST_CASE("verify: a sound pack, with and without its model") {
  const Files files;
  const VerifyReport alone = verify(files.pack());
  CHECK(alone.ok());
  CHECK(alone.kind == "pack");
  CHECK(alone.summary == "IPS hidden 8");
  CHECK(alone.model_name == "vit (synth:vit:7)");
  CHECK(alone.tensors == 4);
  CHECK(alone.values == 8 * 32 + 8 + 128 * 8 + 128);
  REQUIRE(alone.notes.size() == 1);
  CHECK(alone.notes[0].find("--for") != std::string::npos);
  CHECK(to_text(alone).find("vit (synth:vit:7)") != std::string::npos);

  const VerifyReport whole = verify(files.pack(), files.model());
  CHECK(whole.ok());
  CHECK(whole.notes.empty());
  CHECK(to_json(whole).at("model_sha256").as_string() ==
        ModelFile(files.model()).provenance().weights_sha256);
  CHECK(to_json(whole).at("config").at("ips_hidden_dim").as_integer() == 8);

  CHECK_THROWS_WITH_AS(verify(files.model(), files.model()), doctest::Contains("expected a pack"),
                       Error);
  CHECK_THROWS_AS(verify(files.pack(), files / "absent"), Error);
}

TEST_CASE("verify: a pack for another model names both") {
  const Files files;
  const VerifyReport report = verify(files.pack(), files.other_model());
  REQUIRE(report.problems.size() == 1);
  CHECK(any_mentions(report.problems, "vit (synth:vit:7)"));
  CHECK(any_mentions(report.problems, "vit (synth:vit:8)"));
  CHECK(to_text(report).find("this pack must not be used") != std::string::npos);

  // One whose sizes do not fit either.
  ModelConfig wide = promise_ips_config();
  wide.prompt_embed_dim = 64;
  synth_model(wide, 7, files / "wide.safetensors");
  const auto problems = verify(files.pack(), files / "wide.safetensors").problems;
  CHECK(any_mentions(problems, "\"ips_ffn.lin1.weight\": expected shape [8, 64], got [8, 32]"));
}

TEST_CASE("verify: what is wrong with a pack's tensors is found, model or not") {
  const Files files;
  EditableWeights weights(files.pack());
  weights.tensors.erase("ips_ffn.lin2.bias");
  weights.set_zero("ips_ffn.lin1.bias", {9});
  weights.set_zero("ips_ffn.lin3.bias", {9});
  weights.set("ips_ffn.lin1.weight", DType::f32, {8, 32},
              std::vector<float>(256, std::numeric_limits<float>::infinity()));
  weights.write(files / "bad.safetensors");
  const std::vector<std::optional<std::filesystem::path>> models = {std::nullopt, files.model()};
  for (const auto& model : models) {
    const auto problems = verify(files / "bad.safetensors", model).problems;
    CHECK(problems.size() == 5);
    CHECK(any_mentions(problems, "\"ips_ffn.lin2.bias\" is missing"));
    CHECK(any_mentions(problems, "\"ips_ffn.lin1.bias\": expected shape [8], got [9]"));
    CHECK(any_mentions(problems, "\"ips_ffn.lin3.bias\" [9] is unknown: the pack has none"));
    CHECK(any_mentions(problems, "element 0 is infinite"));
    CHECK(any_mentions(problems, "the weights have the hash"));
  }
  // Without the model any width will do, but not another number of axes.
  weights = EditableWeights(files.pack());
  weights.set_zero("ips_ffn.lin1.weight", {8, 33});
  weights.write(files / "wide.safetensors");
  CHECK(verify(files / "wide.safetensors").problems.size() == 1);
  CHECK(verify(files / "wide.safetensors", files.model()).problems.size() == 2);
  weights.set_zero("ips_ffn.lin1.weight", {8, 33, 1});
  weights.write(files / "wide.safetensors");
  CHECK(any_mentions(verify(files / "wide.safetensors").problems, "expected shape [8, any]"));
}

TEST_CASE("inspect: a pack says what it holds and whose it is") {
  const Files files;
  const Json json = inspect(files.pack());
  CHECK(json.at("kind").as_string() == "pack");
  CHECK(json.at("summary").as_string() == "IPS hidden 8");
  CHECK(json.at("model_name").as_string() == "vit (synth:vit:7)");
  CHECK(json.at("config").at("mask_token").as_integer() == 1);
  CHECK(to_text(json).find("IPS hidden 8") != std::string::npos);
  // One that cannot be used is still shown.
  const Json odd = inspect(files.with_description(R"("apm": "none")", R"("apm": "foo")"));
  CHECK(odd.at("config").at("apm").as_string() == "foo");
  CHECK(odd.find("summary") == nullptr);
}
