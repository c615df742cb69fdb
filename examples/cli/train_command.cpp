// promiseg train: from labelled images to a pack, on this machine; to a model with it, if nothing
// of the model stays frozen.
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "interrupt.hpp"
#include "progress.hpp"
#include "promiseg/eigen/training_backend.hpp"
#include "promiseg/train/initial_weights.hpp"
#include "promiseg/train/trainer.hpp"
#include "training_data.hpp"
#include "training_options.hpp"
#include "write_model.hpp"
#include "write_pack.hpp"

namespace promiseg::cli {
namespace {

std::filesystem::path with_ending(const std::string& output, const char* ending) {
  return output + ending;
}

/// "12 s", "3 min 20 s".
std::string duration_text(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 60) return std::to_string(whole) + " s";
  return std::to_string(whole / 60) + " min " + std::to_string(whole % 60) + " s";
}

std::string format(const char* text, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, text, value);
  return buffer;
}

/// Lists the tensors that layers read, and none that checkpoints hold for nothing.
class ReadTensors : public SpecRecorder {
  bool has(const std::string& /*name*/) override { return false; }
};

/// Tensors as they are now, trained or not.
tools::NamedTensors tensors_of(train::Parameters& parameters,
                               const std::vector<TensorSpec>& specs) {
  tools::NamedTensors tensors;
  for (const TensorSpec& spec : specs) {
    const Index count =
        std::accumulate(spec.shape.begin(), spec.shape.end(), Index{1}, std::multiplies<>());
    tensors[spec.name] = {
        spec.shape,
        {train::fetch(parameters, spec.name, spec.shape), static_cast<std::size_t>(count)}};
  }
  return tensors;
}

/// One run: its task, what it tells, and the files it writes.
class Run {
 public:
  Run(const TrainingOptions& options, const ModelFile& model)
      : options_(options),
        model_(model),
        pack_(options.pack_config(model.config())),
        config_(options.train_config(pack_)),
        state_(with_ending(options.output, ".state")),
        log_(with_ending(options.output, ".log.csv")) {
    if (!options.init.empty()) {
      init_.emplace(options.init);
      require_same_model(*init_);
      require(!init_->config().decoder, ErrorCode::unsupported, options.init,
              ": it has a decoder of its own, which --init cannot take over");
    }
    require(!options.resume || std::filesystem::exists(state_), ErrorCode::not_found,
            state_.string(), ": there is no interrupted run to go on with");
    require(options.resume || !std::filesystem::exists(state_), ErrorCode::invalid_argument,
            state_.string(), ": an interrupted run is here: go on with it (--resume), or remove ",
            "this file to begin anew");
  }

  const PackConfig& pack() const { return pack_; }

  void train(const TrainingData& data, const train::FeatureCache& cache) {
    data_summary_ = Json::Object{{"train", static_cast<std::int64_t>(data.train.size())},
                                 {"val", static_cast<std::int64_t>(data.val.size())},
                                 {"versions", static_cast<std::int64_t>(1 + options_.augment)},
                                 {"fingerprint", data.fingerprint}};
    FileWeights model_weights(model_.file());
    train::InitialWeights first(pack_, config_.seed, init_.has_value() ? &init_->file() : nullptr);
    EigenTrainingBackend backend({.threads = options_.common.threads});
    train::Trainer<EigenTrainingBackend> trainer(
        backend, {model_.config(), pack_, config_, model_weights, first, cache, data.train,
                  data.val, run_name()});
    if (options_.resume) resume(trainer);
    started_ = std::chrono::steady_clock::now();
    bool finished = false;
    {
      ProgressBar progress("training", !options_.common.quiet);
      finished = trainer.run(state_, observer(trainer, progress));
    }
    require(finished, ErrorCode::io, "interrupted after epoch ", trainer.position().epoch, " of ",
            config_.epochs, "; go on with the same command and --resume");
    std::error_code ignored;
    std::filesystem::remove(state_, ignored);
    report(trainer.position());
  }

 private:
  /// Settings, data and model: a state belongs to one such run.
  std::string run_name() const {
    Json json;
    json.set("pack", to_json(pack_));
    json.set("config", to_json(config_));
    json.set("data", data_summary_);
    json.set("model", model_.provenance().weights_sha256);
    json.set("init", init_.has_value() ? init_->provenance().weights_sha256 : "");
    json.set("model_out", options_.model_output);
    return json.dump();
  }

  void require_same_model(const PackFile& pack) const {
    require(pack.provenance().model_sha256 == model_.provenance().weights_sha256,
            ErrorCode::invalid_argument, pack.name(), ": the pack belongs to another model, ",
            pack.provenance().model_name);
  }

  void resume(train::Trainer<EigenTrainingBackend>& trainer) {
    trainer.resume(state_);
    const bool has_best = trainer.position().best_epoch > 0;
    for (const std::string& file : {options_.output, options_.model_output}) {
      require(!has_best || file.empty() || std::filesystem::exists(file), ErrorCode::not_found,
              file, ": the best state so far was written here, and the run goes on beside it; put ",
              "the file back, or remove ", state_.string(), " to begin anew");
    }
    options_.common.say("Going on after epoch " + std::to_string(trainer.position().epoch));
  }

  train::TrainingObserver observer(const train::Trainer<EigenTrainingBackend>& trainer,
                                   ProgressBar& progress) {
    train::TrainingObserver told;
    told.step = [&](const train::RunPosition& position, double loss, double dice, Index steps) {
      progress.update(
          position.epoch * steps + position.step, config_.epochs * steps,
          "epoch " + std::to_string(position.epoch + 1) + " of " + std::to_string(config_.epochs) +
              format("  loss %.4f", loss) + format("  Dice %.4f", dice) +
              (position.best_epoch > 0 ? format("  best %.4f", position.best_dice) : ""));
    };
    told.best = [&](train::Parameters& parameters, const train::RunPosition& position) {
      save(parameters, position);
    };
    told.epoch = [&](const train::EpochRecord& record) {
      const train::RunPosition& position = trainer.position();
      write_log(position);
      progress.clear();
      options_.common.say(
          "epoch " + std::to_string(record.epoch) + "/" + std::to_string(config_.epochs) +
          format("  loss %.4f", record.loss) + format("  Dice %.4f", record.train_dice) +
          format("  val %.4f", record.val_dice) +
          (position.best_epoch == record.epoch ? " *" : "  ") + format("  %.1f s", record.seconds));
    };
    told.wants_to_stop = interrupted;
    return told;
  }

  /// Writes the pack and, where the encoder trains, the model that it then belongs to: both are
  /// complete before either appears.
  void save(train::Parameters& parameters, const train::RunPosition& position) const {
    ModelProvenance model = model_.provenance();
    std::optional<AtomicFile> model_file;
    if (options_.trains_encoder()) {
      model = tools::write_model(model_file.emplace(options_.model_output), model_.config(),
                                 {"promiseg train", "", "", model.licence},
                                 tensors_of(parameters, sam_tensor_specs(model_.config())));
    }
    AtomicFile pack_file(options_.output);
    ReadTensors read;
    pack_weights(read, pack_, model_.config());
    tools::write_pack(pack_file, pack_,
                      {model.weights_sha256, describe_model(model_.config(), model),
                       "promiseg train", "", options_.licence, training_summary(position)},
                      tensors_of(parameters, read.take()), options_.half ? DType::f16 : DType::f32);
    if (model_file.has_value()) model_file->commit();
    pack_file.commit();
  }

  Json training_summary(const train::RunPosition& position) const {
    Json training;
    training.set("method", options_.method);
    training.set("config", to_json(config_));
    training.set("data", data_summary_);
    if (!options_.window.empty()) training.set("window", options_.window);
    if (options_.augment > 0) training.set("augmentation", to_json(options_.augmentation()));
    training.set("best_epoch", static_cast<std::int64_t>(position.best_epoch));
    training.set("val_dice", position.best_dice);
    return training;
  }

  void write_log(const train::RunPosition& position) const {
    std::string text = "epoch,rate,loss,train_dice,val_dice,seconds\n";
    for (const train::EpochRecord& record : position.records) {
      text += std::to_string(record.epoch) + format(",%.9g", record.rate) +
              format(",%.9g", record.loss) + format(",%.9g", record.train_dice) +
              format(",%.9g", record.val_dice) + format(",%.3f\n", record.seconds);
    }
    write_file(log_, text);
  }

  void report(const train::RunPosition& position) const {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    options_.common.say("Best: epoch " + std::to_string(position.best_epoch) +
                        format(", Dice %.4f on the validation images", position.best_dice) + " (" +
                        duration_text(seconds) + ")\n" + options_.output + "\n" +
                        (options_.trains_encoder() ? options_.model_output + "\n" : "") +
                        log_.string());
    Json::Array epochs;
    for (const train::EpochRecord& record : position.records) {
      epochs.push_back(train::detail::to_json(record));
    }
    Json result = Json::Object{{"pack", options_.output},
                               {"log", log_.string()},
                               {"best_epoch", static_cast<std::int64_t>(position.best_epoch)},
                               {"val_dice", position.best_dice},
                               {"seconds", seconds},
                               {"data", data_summary_},
                               {"epochs", std::move(epochs)}};
    if (options_.trains_encoder()) result.set("model", options_.model_output);
    options_.common.print(result);
  }

  const TrainingOptions& options_;
  const ModelFile& model_;
  PackConfig pack_;
  train::TrainConfig config_;
  std::filesystem::path state_;
  std::filesystem::path log_;
  Json data_summary_;
  std::optional<PackFile> init_;  ///< what the pack begins with
  std::chrono::steady_clock::time_point started_;
};

bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code ignored;
  return std::filesystem::equivalent(a, b, ignored) ||
         std::filesystem::absolute(a).lexically_normal() ==
             std::filesystem::absolute(b).lexically_normal();
}

/// Fails now rather than after an hour: for outputs that cannot be written, or that would replace
/// each other or what the run reads.
void check_outputs(const TrainingOptions& options, const ModelFile& model) {
  std::vector<std::filesystem::path> outputs;
  for (const char* ending : {"", ".state", ".log.csv"}) {
    outputs.push_back(with_ending(options.output, ending));
  }
  if (options.trains_encoder()) outputs.emplace_back(options.model_output);
  std::vector<std::filesystem::path> taken = {model.name(), options.data, options.init};
  for (const std::filesystem::path& output : outputs) {
    for (const std::filesystem::path& other : taken) {
      if (!other.empty() && same_file(output, other)) {
        throw UsageError(output.string() + ": the run would replace this file, which it reads or " +
                         "writes as something else; choose another --output or --model-out");
      }
    }
    taken.push_back(output);
    const AtomicFile probe(output);
  }
}

void train_pack(const TrainingOptions& options) {
  check_options(options);
  const ModelFile model(find_model(options.model));
  Run run(options, model);
  check_outputs(options, model);
  if (!options.resume && std::filesystem::exists(options.output)) {
    options.common.say("Note: " + options.output +
                       " is there, and this run will replace it after its first epoch.");
  }
  const Dataset dataset = open_dataset(options);
  const train::FeatureCache cache(cache_folder(options));
  catch_interrupts();
  const TrainingData data = prepare_data(options, dataset, run.pack(), cache, model);
  run.train(data, cache);
}

}  // namespace

void add_train_command(CLI::App& app) {
  auto options = std::make_shared<TrainingOptions>();
  CLI::App* command = app.add_subcommand("train", "Train a pack on labelled images");
  command->footer(
      "The model stays frozen: every image passes the encoder once, its features are kept in the\n"
      "cache, and what is trained is small. Beside PACK appear PACK.log.csv and, until the run is\n"
      "finished, PACK.state for --resume. PACK itself is always the best state so far, judged by\n"
      "the images marked val, never by those marked test.\n"
      "With --freeze fz4 nothing stays frozen: every image passes the encoder in every epoch, and\n"
      "beside PACK appears the new model, to which it then belongs.\n"
      "Example: sixteen labelled X-rays, the whole image as the prompt\n"
      "  promiseg train --data lungs.csv -o lungs.safetensors --epochs 20 --label lungs\n"
      "Example: predict the box, too\n"
      "  promiseg train --data polyps.csv -o polyps.safetensors --method apm+ips");
  options->add_to(*command);
  command->callback([options] { train_pack(*options); });
}

}  // namespace promiseg::cli
