"""Pretrained diffusion models: scores are those of the activations, and the model stays as it was."""

import types

import jax
import numpy as np
import pytest

from dae_theory import detection, representation

torch = pytest.importorskip("torch", exc_type=ImportError)

from dae_theory.adapters import torch as hooks  # noqa: E402

torch.set_num_threads(1)  # tiny models: threads would only wait for one another


@pytest.fixture
def rng():
    return np.random.default_rng(19)


@pytest.fixture(scope="module")
def recipes():
    pytest.importorskip("diffusers", exc_type=ImportError)
    from dae_theory.adapters import diffusers as recipes

    return recipes


def _unet(size=8):
    import diffusers

    return diffusers.UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    )


def _pixel_pipeline():
    import diffusers

    return diffusers.DDPMPipeline(unet=_unet(), scheduler=diffusers.DDPMScheduler())


def _dit_pipeline():
    import diffusers

    transformer = diffusers.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,  # twice as many: the learned variance
        num_layers=2,
        sample_size=4,
        patch_size=2,
        num_embeds_ada_norm=5,
        norm_num_groups=4,
    )
    return diffusers.DiTPipeline(transformer=transformer, vae=_vae(), scheduler=diffusers.DDIMScheduler())


def _vae():
    import diffusers

    return diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        block_out_channels=(4, 4),
        norm_num_groups=2,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )


class _TextEncoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 6)

    @property
    def device(self):
        return self.embedding.weight.device

    def forward(self, tokens):
        return (self.embedding(tokens),)


class _Tokenizer:
    model_max_length = 3

    def __call__(self, text, **settings):
        assert text == ""
        return types.SimpleNamespace(input_ids=torch.zeros(1, self.model_max_length, dtype=torch.long))


def _text_pipeline():
    import diffusers

    unet = diffusers.UNet2DConditionModel(
        sample_size=4,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        cross_attention_dim=6,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return types.SimpleNamespace(
        unet=unet,
        vae=_vae(),
        scheduler=diffusers.DDPMScheduler(),
        tokenizer=_Tokenizer(),
        text_encoder=_TextEncoder(),
    )


PIPELINES = {"UNet2DModel": _pixel_pipeline, "UNet2DConditionModel": _text_pipeline, "DiT": _dit_pipeline}


def _parts(pipeline):
    parts = [getattr(pipeline, name, None) for name in ("unet", "transformer", "vae", "text_encoder")]
    return [part for part in parts if part is not None]


@pytest.mark.parametrize("kind", PIPELINES)
def test_scoring_leaves_the_model_bit_identical_and_does_not_depend_on_the_batch(recipes, rng, kind, state_of):
    torch.manual_seed(0)
    pipeline = PIPELINES[kind]()
    for part in _parts(pipeline):
        part.train()  # the flag must come back
    images = np.clip(rng.standard_normal((5, 1, 8, 8)), -1, 1)
    before = [state_of(part) for part in _parts(pipeline)]
    whole = recipes.score_images(pipeline, images, timestep=100, batch_size=5)
    parts = recipes.score_images(pipeline, images, timestep=100, batch_size=2)
    assert [state_of(part) for part in _parts(pipeline)] == before
    assert list(whole.scores) == list(recipes.recipe(pipeline).names)
    for name, scores in whole.scores.items():
        for field in ("std", "participation_ratio", "gini"):
            left, right = getattr(scores, field), getattr(parts.scores[name], field)
            assert left.shape == (5,)
            np.testing.assert_allclose(left, right, rtol=1e-3, err_msg=name)  # float32 through the network
    np.testing.assert_allclose(whole.denoising_loss, parts.denoising_loss, rtol=1e-3)
    np.testing.assert_allclose(whole.pixel_std, images.reshape(5, -1).std(axis=1), rtol=1e-5)
    signal = float(pipeline.scheduler.alphas_cumprod[100])
    np.testing.assert_allclose(whole.noise_std, np.sqrt((1 - signal) / signal), rtol=1e-6)
    names = [column.name for column in whole.columns()]
    assert len(names) == 6 * len(whole.scores) + 3
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", ["UNet2DModel", "DiT"])
def test_a_pipeline_saved_to_a_folder_scores_the_same(recipes, rng, kind, tmp_path):
    import diffusers

    torch.manual_seed(1)
    pipeline = PIPELINES[kind]()
    pipeline.save_pretrained(tmp_path)
    loaded = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    images = np.clip(rng.standard_normal((2, 1, 8, 8)), -1, 1)
    first, second = (recipes.score_images(each, images, timestep=10) for each in (pipeline, loaded))
    for name, scores in first.scores.items():
        np.testing.assert_array_equal(scores.std, second.scores[name].std)
    np.testing.assert_array_equal(first.denoising_loss, second.denoising_loss)


def test_scores_are_those_of_the_activations_of_the_noised_image(recipes, rng):
    """Against a forward pass written out: same noise, same block, pooled by hand."""
    torch.manual_seed(2)
    pipeline = _pixel_pipeline()
    image = np.clip(rng.standard_normal((1, 1, 8, 8)), -1, 1).astype(np.float32)
    result = recipes.score_images(pipeline, image, timestep=50, names=["mid_block"], seed=3)
    noise = np.random.default_rng([3, 0]).standard_normal((1, 8, 8), dtype=np.float32)[None]
    noised = pipeline.scheduler.add_noise(torch.tensor(image), torch.tensor(noise), torch.tensor([50]))
    with hooks.evaluating(pipeline.unet), hooks.capture(pipeline.unet, ["mid_block"]) as captured:
        predicted = pipeline.unet(noised, 50).sample
    pooled = captured["mid_block"][0].amax(dim=(2, 3)).numpy()
    expected = representation.spikiness(pooled)
    np.testing.assert_allclose(result.scores["mid_block"].participation_ratio, expected.participation_ratio, rtol=1e-4)
    step = pipeline.scheduler.step(predicted, 50, noised, generator=torch.Generator().manual_seed(0))
    signal = float(pipeline.scheduler.alphas_cumprod[50])
    original = (noised - (1 - signal) ** 0.5 * predicted) / signal**0.5
    np.testing.assert_allclose(step.pred_original_sample, original.clamp(-1, 1), atol=1e-5)
    np.testing.assert_allclose(result.denoising_loss, -((original - torch.tensor(image)) ** 2).sum(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_denoised_image_is_right_for_every_kind_of_prediction(recipes, rng, kind):
    """A network that predicts perfectly returns the image."""
    from dae_theory.adapters.diffusers import scoring

    x, noise, signal = *torch.tensor(rng.standard_normal((2, 1, 1, 4, 4))), 0.7
    noised = signal**0.5 * x + (1 - signal) ** 0.5 * noise
    truth = {"epsilon": noise, "v_prediction": signal**0.5 * noise - (1 - signal) ** 0.5 * x, "sample": x}
    torch.testing.assert_close(scoring.denoised_image(truth[kind], noised, signal, kind), x)


def test_a_model_trained_to_memorize_is_detected(recipes, rng):
    """Eight images fitted for 120 steps denoise better than sixteen fresh ones, and the table says so."""
    import diffusers

    torch.manual_seed(3)
    images = np.clip(rng.standard_normal((24, 1, 8, 8)), -1, 1).astype(np.float32)
    unet, scheduler = _unet(), diffusers.DDPMScheduler()
    optimizer = torch.optim.Adam(unet.parameters(), lr=5e-3)
    x, t = torch.tensor(images[:8]), 300
    generator = torch.Generator().manual_seed(0)
    for _ in range(120):
        noise = torch.randn(x.shape, generator=generator)
        noised = scheduler.add_noise(x, noise, torch.full((8,), t))
        loss = torch.mean((unet(noised, t).sample - noise) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pipeline = types.SimpleNamespace(unet=unet, scheduler=scheduler)
    result = recipes.score_images(pipeline, images, timestep=t)
    table = detection.evaluate(jax.random.key(0), result.columns(), np.arange(24) < 8, resamples=50, combine=False)
    assert table["denoising_loss"].auroc.estimate == 1
    assert {row.name.split("/")[0] for row in table.rows} >= {"mid_block", "down_blocks.0", "up_blocks.1"}


def test_the_command_line_scores_a_saved_pipeline_on_a_folder_of_images(recipes, rng, tmp_path):
    image = pytest.importorskip("PIL.Image", exc_type=ImportError)
    from sims import launch, score_model

    torch.manual_seed(4)
    _pixel_pipeline().save_pretrained(tmp_path / "pipeline")
    for folder, count in (("memorized", 4), ("others", 6)):
        (tmp_path / "images" / folder).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            image.fromarray(pixels).save(tmp_path / "images" / folder / f"{index}.png")
    options = ["--pipeline", str(tmp_path / "pipeline"), "--images", str(tmp_path / "images"), "--resamples", "20"]

    def run(*more):
        return launch.main(
            score_model.SIM,
            [*options, *more, "--out", str(tmp_path / "results"), "--no-figure"],
        ).read()

    scored = run()
    assert scored.sizes["sample"] == 10
    assert int(scored["memorized"].sum()) == 4
    assert {"mid_block/std", "denoising_loss", "combined"} <= set(scored["line"].values)
    assert "µs/sample" in scored.attrs["table"]
    with pytest.raises(SystemExit, match=r"--memorized must be one of the subfolders .*'others'.*got 'nowhere'"):
        run("--memorized", "nowhere")
    unlabelled = run("--memorized", "")
    assert "auroc" not in unlabelled
    np.testing.assert_array_equal(unlabelled["score"], scored["score"])


def test_refusals(recipes, rng, refused):
    pipeline, images = _pixel_pipeline(), np.zeros((1, 1, 8, 8))
    with refused("images"):
        recipes.score_images(pipeline, [], timestep=1)
    with refused("images"):
        recipes.score_images(pipeline, images + 2, timestep=1)
    with refused("images"):
        recipes.score_images(pipeline, images[0], timestep=1)
    with refused("timestep"):
        recipes.score_images(pipeline, images, timestep=1000)
    with refused("names"):
        recipes.score_images(pipeline, images, timestep=1, names=["middle"])
    with refused("batch_size"):
        recipes.score_images(pipeline, images, timestep=1, batch_size=0)
    with refused("pipeline"):
        recipes.recipe(types.SimpleNamespace(scheduler=pipeline.scheduler))
    with refused("pipeline"):
        recipes.recipe(types.SimpleNamespace(unet=pipeline.unet, scheduler=None))
    text = _text_pipeline()
    text.tokenizer = None
    with refused("pipeline"):
        recipes.recipe(text)
