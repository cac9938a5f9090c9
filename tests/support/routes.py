"""List the documented routes of the app, for tests that check each of them."""

from lambda_app.app import create_app
from lambda_app.classifier import Classifier
from lambda_app.settings import Settings
from lambda_app.web.openapi import list_routes

ROUTES = list_routes(create_app(Classifier.load(Settings().model_path), Settings()))  # summaries, by method and path
